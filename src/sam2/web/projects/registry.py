"""All projects: those on disk, and those that are open."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sam2.web.engine.features import FeatureCache
from sam2.web.engine.runner import Runner
from sam2.web.errors import StudioError
from sam2.web.events import EventBus
from sam2.web.jobs import Jobs
from sam2.web.media.kinds import kind_by_name
from sam2.web.media.library import MediaLibrary
from sam2.web.projects.images import ImageProject
from sam2.web.projects.names import check_name, check_new_name, free_name
from sam2.web.projects.opened import OpenProjects
from sam2.web.projects.project import Context, Project
from sam2.web.projects.store import ProjectRecord, ProjectStore, hold_folder, read_record
from sam2.web.projects.video import VideoProject
from sam2.web.schemas import Kind, NewProject, ProjectSummary
from sam2.web.settings import StudioSettings

MEDIA = "media"
"""Folder of a project for what was uploaded."""
SWEEP_SECONDS = 20.0
GRACE = 10.0
"""Seconds for which a project that was asked for is in use."""


class ProjectRegistry:
    """Opens projects when they are asked for and closes those that nobody uses.

    Args:
        settings: where projects lie, and how long they stay open.
        runner, features, jobs, events: parts of the studio.
        library: says what a path or an upload is.
    """

    def __init__(
        self,
        settings: StudioSettings,
        *,
        runner: Runner,
        features: FeatureCache,
        jobs: Jobs,
        events: EventBus,
        library: MediaLibrary,
    ) -> None:
        self.settings, self.library = settings, library
        self._context = Context(runner, features, jobs, events)
        self._naming = threading.Lock()
        self._opened = OpenProjects()
        self._closing = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="sam2-projects", daemon=True)
        self._sweeper.start()

    def get(self, name: str) -> Project:
        """A project, opened if it is not open yet.

        Raises:
            StudioError: 404 there is none, 409 it is damaged or open elsewhere.
        """
        check_name(name)
        project = self._opened.peek(name)
        if project is not None and project.source_is_back:
            self._opened.close(name)
        return self._opened.get(name, lambda: self._resume(name))

    def create(self, new: NewProject) -> tuple[Project, bool]:
        """The project of a path or an upload, and whether it is new.

        Without a name, a project of the same path is resumed.

        Raises:
            StudioError: 404 or 403 no such path, 409 the name is taken by another, 415 it is nothing to open, 422.
        """
        if (new.path is None) == (new.upload is None):
            raise StudioError(422, "exactly one of path and upload must be given")
        if new.path is not None:
            return self.open_path(self.library.to_open(new.path), name=new.name, kind=new.kind)
        upload = new.upload
        assert upload is not None
        kind, title = new.kind or self.library.upload_kind(upload), self.library.upload_title(upload)
        with self._naming:
            name, store = self._new_store(new.name, title, self._record(kind, new.name or title, None))
        return self._begin(name, store, lambda: self.library.claim(upload, store.folder / MEDIA)), True

    def open_path(self, path: Path, *, name: str | None = None, kind: Kind | None = None) -> tuple[Project, bool]:
        """As :meth:`create`, of any file or folder of this machine: for who started the studio."""
        path = path.resolve()
        usual = self.library.kind_of(path)
        kind = kind or usual
        if kind != usual and not path.is_dir():
            raise StudioError(422, f"{path.name} is a photo: a video is a video file, or a folder of frames")
        wanted = None if name is None else check_new_name(name)
        with self._naming:
            known = self._projects_of(path, kind)
            if wanted is not None and (self.settings.projects / wanted).exists():
                if wanted not in known:
                    raise StudioError(409, f"project {wanted} is of another source: choose another name")
                known = [wanted]
            elif wanted is not None:
                known = []
            if not known:
                title = path.stem if path.is_file() else path.name
                chosen, store = self._new_store(wanted, title, self._record(kind, wanted or path.name, path))
        if known:
            return self.get(known[0]), False
        return self._begin(chosen, store), True

    def summaries(self) -> list[ProjectSummary]:
        """All projects, those changed last first; folders that cannot be read are left out."""
        found = []
        for folder in self.settings.projects.iterdir():
            try:
                check_name(folder.name)
                record = read_record(folder)
                changed = (folder / "project.json").stat().st_mtime
            except (StudioError, OSError):
                continue
            found.append(
                ProjectSummary(
                    name=folder.name,
                    title=record.title,
                    kind=record.kind,
                    num_frames=record.num_frames,
                    changed=changed,
                    missing=record.source is not None and not Path(record.source).exists(),
                )
            )
        return sorted(found, key=lambda item: -item.changed)

    def delete(self, name: str) -> None:
        """Remove a project's folder. Photos and videos that were not uploaded stay where they are.

        Raises:
            StudioError: 404 there is none, 409 it is open elsewhere.
        """
        check_name(name)
        folder = self.settings.projects / name
        if self._opened.peek(name) is None:
            if not (folder / "project.json").is_file():
                raise StudioError(404, f"there is no project {name}")
            hold_folder(folder).close()  # nobody else has it open; a damaged one can be deleted, too
        self._context.jobs.forget(name)
        self._opened.close(name, then=lambda: shutil.rmtree(folder, ignore_errors=True))

    def close(self) -> None:
        """Close all projects; none can be opened again."""
        self._closing.set()
        self._opened.end()

    def close_idle(self, *, now: float | None = None) -> None:
        """Close projects that nobody has looked at for a while, and more of them while all take too much memory."""
        now = time.monotonic() if now is None else now
        for name in self._opened.names:
            idle = now - self._opened.used(name)
            if self._context.jobs.running(name):
                continue
            watched = self._context.events.listeners(name)
            over = idle > GRACE and self.num_bytes > self.settings.memory_mb * 2**20
            if over or (idle > 60 * self.settings.idle_minutes and not watched):
                self._opened.close(name)

    @property
    def num_bytes(self) -> int:
        """Bytes that open projects hold, beside features."""
        opened = [self._opened.peek(name) for name in self._opened.names]
        return sum(project.num_bytes for project in opened if project is not None)

    @property
    def open_names(self) -> list[str]:
        """Projects that are open."""
        return self._opened.names

    # ------------------------------------------------------------------ small steps

    def _resume(self, name: str) -> Project:
        folder = self.settings.projects / name
        read_record(folder)  # says what is wrong before anything is held
        return self._make(ProjectStore(folder))

    def _make(self, store: ProjectStore) -> Project:
        try:
            record = store.record
            source = _only_file(store.folder / MEDIA, record.kind) if record.source is None else Path(record.source)
            kind = VideoProject if record.kind == "video" else ImageProject
            return kind(store, source, self._context)
        except BaseException:
            store.close()
            raise

    def _new_store(self, wanted: str | None, title: str, record: ProjectRecord) -> tuple[str, ProjectStore]:
        """A new folder, whose name nobody else can take or open; the caller has the lock for names."""
        name = self._free_name(wanted, title)
        self._opened.reserve(name)
        try:
            return name, ProjectStore(self.settings.projects / name, record)
        except BaseException:
            self._opened.release(name)
            raise

    def _begin(self, name: str, store: ProjectStore, prepare: Callable[[], object] = lambda: None) -> Project:
        def make() -> Project:
            try:
                prepare()
                project = self._make(store)
                store.replace(num_frames=project.num_frames)
                return project
            except BaseException:
                store.close()
                shutil.rmtree(store.folder, ignore_errors=True)
                raise

        return self._opened.enter(name, make)

    def _record(self, kind: Kind, title: str, source: Path | None) -> ProjectRecord:
        return ProjectRecord(
            title=title, kind=kind, model=self._context.runner.name, source=None if source is None else str(source)
        )

    def _projects_of(self, path: Path, kind: Kind) -> list[str]:
        same = [item.name for item in self.summaries() if item.kind == kind]
        return [name for name in same if self._source_of(name) == str(path)]

    def _source_of(self, name: str) -> str | None:
        return read_record(self.settings.projects / name).source

    def _free_name(self, wanted: str | None, title: str) -> str:
        taken = {folder.name for folder in self.settings.projects.iterdir()}
        if wanted is None:
            return free_name(title, taken)
        check_new_name(wanted)
        if wanted.casefold() in {name.casefold() for name in taken}:
            raise StudioError(409, f"there is a project {wanted} already")
        return wanted

    def _sweep(self) -> None:
        while not self._closing.wait(SWEEP_SECONDS):
            self.close_idle()


def _only_file(folder: Path, kind: Kind) -> Path:
    """The folder of uploaded photos, or the one video in it."""
    files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    if kind == "images" or (files and all(kind_by_name(path.name) == "image" for path in files)):
        return folder
    return files[0] if files else folder / "missing"
