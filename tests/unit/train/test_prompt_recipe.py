"""The simulated user: how often he does what, where his prompts fall, and that they are each object's own."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from moving_discs import model, sample

from sam2.modeling.types import ImageFeatures
from sam2.train.data.clip import collate
from sam2.train.memories import behaving, training_behaviour
from sam2.train.prompts import PastConfig, PromptConfig, PromptPlan, draw_plan
from sam2.train.recipe import ClipFeatures, Simulation
from sam2.train.simulate_clicks import click, first_box, keys_of, sketch, uniform

OFFICIAL = PromptConfig()
MANY = 2000


@pytest.fixture(scope="module")
def plans():
    return [draw_plan(OFFICIAL, 8, seed) for seed in range(MANY)]


def share(values):
    values = list(values)
    return sum(values) / len(values)


def disc(size=64, x=20.0, y=30.0, radius=9.0):
    rows, columns = np.mgrid[:size, :size]
    return torch.from_numpy((columns - x) ** 2 + (rows - y) ** 2 < radius**2)


def keys(count):
    return keys_of(torch.arange(count), 0, 0)


class TestPlan:
    def test_half_of_the_clips_start_from_masks_which_are_not_corrected(self, plans):
        by_mask = [plan for plan in plans if "mask" in plan.first.values()]
        assert len(by_mask) / MANY == pytest.approx(0.5, abs=0.04)
        assert all(set(plan.first.values()) == {"mask"} and not plan.corrected for plan in by_mask)

    def test_half_of_the_others_first_prompts_are_boxes(self, plans):
        kinds = Counter(kind for plan in plans for kind in plan.first.values() if kind != "mask")
        assert set(kinds) == {"box", "click"}
        assert kinds["box"] / kinds.total() == pytest.approx(0.5, abs=0.04)

    def test_the_first_frame_is_prompted_and_now_and_then_another(self, plans):
        assert all(next(iter(plan.first)) == 0 for plan in plans)
        assert share(len(plan.first) == 2 for plan in plans) == pytest.approx(0.5, abs=0.04)
        seconds = Counter(list(plan.first)[1] for plan in plans if len(plan.first) == 2)
        assert set(seconds) == set(range(1, 8))
        assert min(seconds.values()) > 0.7 * max(seconds.values())

    def test_prompted_frames_are_corrected_by_seven_clicks_and_perhaps_another_frame(self, plans):
        by_points = [plan for plan in plans if "mask" not in plan.first.values()]
        for plan in by_points:
            assert set(plan.first) <= set(plan.corrected)
            assert len(plan.corrected) <= 2
            assert {len(clicks) for clicks in plan.corrected.values()} == {7}
        one = [plan for plan in by_points if len(plan.first) == 1]
        assert share(len(plan.corrected) == 2 for plan in one) == pytest.approx(0.5, abs=0.05)

    def test_a_tenth_of_the_corrections_fall_anywhere_in_the_truth(self, plans):
        flags = [flag for plan in plans for clicks in plan.corrected.values() for flag in clicks]
        assert share(flags) == pytest.approx(0.1, abs=0.01)

    def test_the_past_is_as_it_is(self, plans):
        assert all(
            (plan.hints, plan.dropped, plan.gap, plan.stride, plan.binarize) == (True, frozenset(), 0, 1, False)
            for plan in plans
        )

    def test_stills_start_from_boxes_and_clicks(self):
        stills = [draw_plan(OFFICIAL, 1, seed) for seed in range(500)]
        assert share(plan.first[0] == "box" for plan in stills) == pytest.approx(0.5, abs=0.07)
        assert {plan.first[0] for plan in stills} == {"box", "click"}
        assert all(len(plan.corrected[0]) == 7 for plan in stills)

    def test_stills_have_shares_of_their_own(self):
        config = PromptConfig(still_point_share=0.0, still_corrections=3)
        plan = draw_plan(config, 1, 0)
        assert plan.first == {0: "sketch"}
        assert len(plan.corrected[0]) == 3
        assert draw_plan(PromptConfig(still_box_share=1.0), 1, 0).first == {0: "box"}

    @pytest.mark.parametrize("frames", [1, 2, 3])
    def test_short_clips_have_fewer_frames_to_prompt(self, frames):
        for seed in range(100):
            plan = draw_plan(PromptConfig(init_frames=5, corrected_frames=7), frames, seed)
            assert {*plan.first, *plan.corrected} <= set(range(frames))
            assert sorted(plan.order(frames)) == list(range(frames))

    def test_counts_need_not_be_drawn(self):
        config = PromptConfig(
            point_share=1.0,
            random_init_frames=False,
            random_corrected_frames=False,
            corrected_frames=4,
            random_corrections=True,
        )
        drawn = [draw_plan(config, 8, seed) for seed in range(200)]
        assert {len(plan.first) for plan in drawn} == {2}
        assert {len(plan.corrected) for plan in drawn} == {0, 4}
        assert {len(clicks) for plan in drawn for clicks in plan.corrected.values()} == set(range(1, 8))

    def test_a_plan_follows_from_its_seed(self):
        assert draw_plan(OFFICIAL, 8, 5) == draw_plan(OFFICIAL, 8, 5)
        assert len({repr(draw_plan(OFFICIAL, 8, seed)) for seed in range(50)}) > 25

    def test_the_past_of_a_long_video_can_be_acted_out(self):
        past = PastConfig(drop_share=1.0, drop=0.5, gap_share=1.0, stride_share=1.0, binarize_share=1.0)
        drawn = [draw_plan(PromptConfig(past=past, no_hints=1.0), 8, seed) for seed in range(200)]
        assert {(plan.stride, plan.binarize, plan.hints) for plan in drawn} == {(2, True, False)}
        assert share(len(plan.dropped) for plan in drawn) == pytest.approx(3.5, abs=0.3)
        assert all(1 <= plan.gap <= 120 and 0 not in plan.dropped for plan in drawn)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"point_share": 1.2}, "point_share must be within 0 to 1, got 1.2"),
            ({"truth_share": -0.1}, "truth_share must be within 0 to 1, got -0.1"),
            ({"init_frames": 0}, "init_frames must be at least 1, got 0"),
            ({"corrections": -1}, "corrections must not be negative, got -1"),
            ({"box_noise": float("nan")}, "box_noise must not be negative, got nan"),
        ],
    )
    def test_wrong_values_are_named(self, values, message):
        with pytest.raises(ValueError, match=message):
            PromptConfig(**values)
        with pytest.raises(ValueError, match=r"drop must be within 0 to 1, got 2"):
            PastConfig(drop=2)
        with pytest.raises(ValueError, match=r"got 0 and 1"):
            draw_plan(OFFICIAL, 0, 1)


class TestClicks:
    def test_numbers_are_spread_evenly(self):
        drawn = uniform(keys(MANY), 3)
        assert drawn.shape == (MANY, 3)
        counts = torch.histc(drawn, bins=10, min=0, max=1)
        assert float(counts.min()) > 0.85 * 3 * MANY / 10
        assert abs(float(torch.corrcoef(drawn.T)[0, 1])) < 0.06

    def test_first_clicks_fall_anywhere_on_the_object(self):
        truth = disc().expand(MANY, -1, -1)
        found = click(keys(MANY), truth, None)
        assert (found.labels == 1).all()
        x, y = found.points[:, 0].long().unbind(-1)
        assert disc()[y, x].all()
        counts = torch.zeros(64, 64).index_put_((y, x), torch.ones(MANY), accumulate=True)
        assert int((counts > 0).sum()) > 0.95 * int(disc().sum())
        assert float(counts.max()) < 30  # 8 expected

    def test_corrections_fall_into_the_error_and_say_which_kind(self):
        truth, shown = disc(x=20), disc(x=32)
        found = click(keys(MANY), truth.expand(MANY, -1, -1), shown.expand(MANY, -1, -1))
        x, y = found.points[:, 0].long().unbind(-1)
        assert (truth ^ shown)[y, x].all()
        assert torch.equal(found.labels[:, 0].bool(), truth[y, x])
        assert share((found.labels == 1).flatten().tolist()) == pytest.approx(0.5, abs=0.05)

    @pytest.mark.parametrize("shown", [None, "nothing"])
    def test_an_absent_object_is_clicked_away(self, shown):
        nothing = torch.zeros(50, 16, 16, dtype=torch.bool)
        found = click(keys(50), nothing, None if shown is None else nothing)
        assert (found.labels == 0).all()
        assert len(found.points.unique(dim=0)) > 20

    def test_what_is_right_is_confirmed_by_a_click_on_the_background(self):
        truth = disc().expand(50, -1, -1)
        found = click(keys(50), truth, truth)
        x, y = found.points[:, 0].long().unbind(-1)
        assert (found.labels == 0).all()
        assert not disc()[y, x].any()

    def test_an_object_that_fills_the_image_is_clicked_on(self):
        truth = torch.ones(3, 16, 16, dtype=torch.bool)
        assert (click(keys(3), truth, truth).labels == 1).all()

    def test_clicks_in_the_middle(self):
        truth = disc(x=20, y=30).expand(40, -1, -1)
        found = click(keys(40), truth, None, centre_share=1.0)
        assert (found.points[:, 0] - torch.tensor([20.0, 30.0])).abs().max() <= 1
        half = click(keys(40), truth, None, centre_share=0.5)
        in_the_middle = (half.points[:, 0] - torch.tensor([20.0, 30.0])).abs().amax(-1) <= 1
        assert 8 <= int(in_the_middle.sum()) <= 32

    def test_clicks_are_each_objects_own(self):
        truth = torch.stack([disc(), disc(x=40), disc(y=40)])
        seeds = torch.tensor([11, 2**63 - 1, 13])
        together = click(keys_of(seeds, 2, 1), truth, None)
        alone = click(keys_of(seeds[1:2], 2, 1), truth[1:2], None)
        assert torch.equal(together.points[1:2], alone.points)
        assert not torch.equal(click(keys_of(seeds, 2, 2), truth, None).points, together.points)
        assert not torch.equal(click(keys_of(seeds, 1, 1), truth, None).points, together.points)

    def test_a_pixel_more_or_less_moves_hardly_any_click(self):
        truth = disc().expand(200, -1, -1)
        other = truth.clone()
        other[:, 30, 20] = False
        same = (click(keys(200), truth, None).points == click(keys(200), other, None).points).all(-1)
        assert share(same.flatten().tolist()) > 0.95


class TestBoxes:
    def test_without_noise_they_are_tight(self):
        truth = torch.zeros(1, 64, 64, dtype=torch.bool)
        truth[0, 10:21, 5:40] = True
        found = first_box(keys(1), truth, config=PromptConfig(box_noise=0.0))
        assert found.points.tolist() == [[[5, 10], [39, 20]]]
        assert found.labels.tolist() == [[2, 3]]

    def test_sides_move_by_a_tenth_at_most(self):
        truth = torch.zeros(MANY, 256, 256, dtype=torch.bool)
        truth[:, 100:141, 50:171] = True
        moved = first_box(keys(MANY), truth, config=OFFICIAL).points - torch.tensor([[50.0, 100.0], [170.0, 140.0]])
        limits = torch.tensor([5.0, 4.0])  # 20 px of 1024 are 5 of 256
        assert (moved.abs() <= limits + 1e-4).all()
        assert (moved.abs().amax((0, 1)) > 0.97 * limits).all()
        assert (moved.mean((0, 1)).abs() < 0.1 * limits).all()

    def test_they_stay_in_the_image(self):
        truth = torch.ones(50, 32, 32, dtype=torch.bool)
        found = first_box(keys(50), truth, config=PromptConfig(box_noise=0.5, box_noise_limit=1000.0)).points
        assert float(found.min()) >= 0
        assert float(found.max()) <= 31

    def test_an_absent_object_has_a_box_somewhere(self):
        found = first_box(keys(20), torch.zeros(20, 32, 32, dtype=torch.bool), config=OFFICIAL).points
        assert (found[:, 0] <= found[:, 1]).all()
        assert len(found.unique(dim=0)) == 20


def test_sketches_resemble_their_object():
    truth = torch.stack([disc(256, 80, 100, 40), disc(256, 150, 120, 60)]).repeat(10, 1, 1)
    logits = sketch(keys(20), truth).masks
    assert logits.shape == (20, 1, 64, 64)
    drawn, wanted = logits[:, 0] > 0, truth[:, ::4, ::4]
    overlap = (drawn & wanted).sum((1, 2)) / (drawn | wanted).sum((1, 2))
    assert 0.3 < float(overlap.min()) < float(overlap.max()) < 1.0


class TestCourse:
    """What the five verbs are asked, in which order."""

    def course(self, plan, *, config=OFFICIAL, frames=4, objects=2):
        """Calls of the verbs on a clip: (verb, what is worth knowing of it)."""
        net = model("nano").eval()
        batch = collate([sample(objects, frames=frames)], step_seed=0)
        calls = []
        decode, fuse, encode = net.decode_masks, net.fuse_memory, net.encode_memory

        def decode_masks(embed, high_res, prompts, **options):
            calls.append(("decode", (prompts, options)))
            return decode(embed, high_res, prompts, **options)

        def fuse_memory(features, context):
            calls.append(("fuse", context))
            return fuse(features, context)

        def encode_memory(features, prediction, **options):
            calls.append(("remember", (prediction, options)))
            return encode(features, prediction, **options)

        net.decode_masks, net.fuse_memory, net.encode_memory = decode_masks, fuse_memory, encode_memory
        with torch.no_grad(), behaving(net, training_behaviour(net.behaviour, plan)):
            pixels = batch.images.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
            features = ClipFeatures.of(net.encode_image(pixels), 1, batch.clip_of)
            answers = list(Simulation(net, features, batch.masks, batch.seeds, plan, config).answers())
        return answers, calls

    def test_a_click_then_tracking(self):
        answers, calls = self.course(PromptPlan({0: "click"}, {}))
        assert [verb for verb, _ in calls] == ["decode", "remember"] + ["fuse", "decode", "remember"] * 2 + [
            "fuse",
            "decode",
        ]
        assert [(a.frame, a.first, a.last) for a in answers] == [(t, True, True) for t in range(4)]
        # one point, or none: three masks
        assert all(known[1]["multimask"] for verb, known in calls if verb == "decode")
        contexts = [known for verb, known in calls if verb == "fuse"]
        assert [context.time_slots for context in contexts] == [(6,), (6, 0), (6, 1, 0)]
        assert contexts[2].pointer_distances[0].tolist() == [3, 1, 2]
        assert {context.max_pointers for context in contexts} == {4}

    def test_corrections_bring_the_last_logits_and_add_a_click_each(self):
        answers, calls = self.course(PromptPlan({0: "box"}, {0: (False, False), 2: (False,)}))
        decoded = [known for verb, known in calls if verb == "decode"]
        points = [prompts.num_points for prompts, _ in decoded]
        assert points == [2, 3, 4, 1, 1, 1, 1]
        assert [options["multimask"] for _, options in decoded] == [False, False, False, True, True, True, True]
        assert [prompts.masks is not None for prompts, _ in decoded] == [False, True, True, False, False, True, False]
        torch.testing.assert_close(decoded[1][0].masks, answers[0].prediction.logits.clamp(-32, 32))
        torch.testing.assert_close(decoded[2][0].masks, answers[1].prediction.logits.clamp(-32, 32))
        assert [(a.frame, a.first, a.last) for a in answers[:3]] == [
            (0, True, False),
            (0, False, False),
            (0, False, True),
        ]
        # tracked frames are asked about by a point that is none
        assert decoded[3][0].labels.tolist() == [[-1], [-1]]
        assert set(decoded[5][0].labels.flatten().tolist()) <= {0, 1}

    def test_corrected_frames_become_conditioning_frames(self):
        _, calls = self.course(PromptPlan({0: "box"}, {1: (False,)}))
        assert [known[1]["prompted"] for verb, known in calls if verb == "remember"] == [True, True, False]
        contexts = [known for verb, known in calls if verb == "fuse"]
        assert [context.time_slots for context in contexts] == [(6,), (6, 6), (6, 6, 0)]

    def test_frames_before_a_second_prompt_know_of_it(self):
        answers, calls = self.course(PromptPlan({0: "click", 3: "click"}, {}))
        assert [a.frame for a in answers] == [0, 3, 1, 2]
        contexts = [known for verb, known in calls if verb == "fuse"]
        assert [context.time_slots for context in contexts] == [(6, 6), (6, 6, 0)]
        assert contexts[0].pointer_distances[0].tolist() == [1, -2]

    def test_masks_are_taken_as_they_are(self):
        answers, calls = self.course(PromptPlan({0: "mask"}, {}))
        assert [a.frame for a in answers] == [1, 2, 3]
        remembered = next(known for verb, known in calls if verb == "remember")
        truth = collate([sample(2, frames=4)], step_seed=0).masks[0]
        assert torch.equal(remembered[0].high_res_logits[:, 0] > 0, truth)

    def test_the_past_can_be_thinned(self):
        plan = PromptPlan({0: "click"}, {}, hints=False, dropped=frozenset({1}), gap=30)
        _, calls = self.course(plan, config=PromptConfig(past=PastConfig(long_video=True)))
        contexts = [known for verb, known in calls if verb == "fuse"]
        assert [context.time_slots for context in contexts] == [(6,), (6,), (6, 0)]
        assert contexts[2].pointer_distances[0].tolist() == [33, 1]
        assert {context.max_pointers for context in contexts} == {16}
        assert not any(known[1]["prompt_hints"] for verb, known in calls if verb == "decode")

    @pytest.mark.parametrize("detach", [False, True])
    def test_gradients_pass_through_corrections_unless_told_otherwise(self, detach):
        net = model()
        config = replace(OFFICIAL, detach_logits=detach)
        batch = collate([sample(1, frames=1)], step_seed=0)
        plan = PromptPlan({0: "box"}, {0: (False,)})
        with torch.no_grad():
            net.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(10.0)
            pixels = batch.images.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
            features = net.encode_image(pixels)
        simulation = Simulation(
            net, ClipFeatures.of(features, 1, batch.clip_of), batch.masks, batch.seeds, plan, config
        )
        first, second = simulation.answers()
        (gradient,) = torch.autograd.grad(
            second.candidates.logits.sum(), first.candidates.logits, allow_unused=True, retain_graph=True
        )
        assert (gradient is None) == detach


def test_features_of_clips_go_to_their_objects():
    embed = torch.arange(6.0)[:, None, None, None].expand(6, 1, 2, 2)
    clips = ClipFeatures.of(ImageFeatures(embed, (embed, embed), embed[:1]), 2, torch.tensor([0, 0, 1]))
    assert len(clips.frames) == 3
    assert clips.frame(1).embed[:, 0, 0, 0].tolist() == [1, 1, 4]
    assert clips.frame(2).high_res[0][:, 0, 0, 0].tolist() == [2, 2, 5]


def test_training_behaves_as_officially():
    net = model()
    net.behaviour = replace(
        net.behaviour, binarize_mask_from_pts_for_mem_enc=True, memory_temporal_stride_for_eval=3, soft_no_obj_ptr=True
    )
    usual = net.behaviour
    trained = training_behaviour(usual, PromptPlan({0: "click"}, {}))
    assert not trained.binarize_mask_from_pts_for_mem_enc
    assert trained.memory_temporal_stride_for_eval == 1
    assert trained.soft_no_obj_ptr
    with behaving(net, trained):
        assert net.behaviour is trained
    assert net.behaviour is usual
