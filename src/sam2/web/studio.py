"""All that a running studio consists of, for the routes to use."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from sam2.modeling.sam2_base import SAM2Base
from sam2.web.engine.features import FeatureCache
from sam2.web.engine.runner import Runner
from sam2.web.events import EventBus
from sam2.web.jobs import Jobs
from sam2.web.media.library import MediaLibrary
from sam2.web.projects.registry import ProjectRegistry
from sam2.web.settings import StudioSettings


@dataclass(frozen=True, slots=True)
class Studio:
    """The parts of a studio.

    Attributes:
        settings: what it was started with.
        runner: computes with the model.
        features: of frames that are looked at.
        library: photos and videos that may be opened, and uploads.
        projects: those that there are, and those that are open.
        jobs: work in the background.
        events: news for the pages.
    """

    settings: StudioSettings
    runner: Runner
    features: FeatureCache
    library: MediaLibrary
    projects: ProjectRegistry
    jobs: Jobs
    events: EventBus

    def close(self) -> None:
        """Stop jobs, close projects and end the runner. What was done is on disk already."""
        self.events.close()
        self.jobs.close()
        self.projects.close()
        self.library.close()
        self.runner.close()


def open_studio(settings: StudioSettings, model: SAM2Base | None = None) -> Studio:
    """The studio of ``settings``.

    Args:
        settings: see there.
        model: in evaluation mode; loaded as ``settings`` say if None.

    Raises:
        ValueError, FileNotFoundError, OSError: the model cannot be loaded, or the folder of projects cannot be made.
    """
    settings.projects.mkdir(parents=True, exist_ok=True)
    if model is None:
        import sam2

        model = sam2.load(settings.model, device=settings.device, dtype="auto")
    runner = Runner(model, name=settings.model)
    features = FeatureCache(runner, settings.memory_mb * 2**20)
    events = EventBus()
    jobs = Jobs(events.publish)
    library = MediaLibrary(settings)
    projects = ProjectRegistry(settings, runner=runner, features=features, jobs=jobs, events=events, library=library)
    return Studio(settings, runner, features, library, projects, jobs, events)


def get_studio(request: Request) -> Studio:
    """The studio that a request is about."""
    studio = request.app.state.studio
    assert isinstance(studio, Studio)
    return studio


StudioDep = Annotated[Studio, Depends(get_studio)]
