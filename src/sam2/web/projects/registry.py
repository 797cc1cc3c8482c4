"""All projects: those on disk, and those that are open."""

import shutil
import threading
import time
from pathlib import Path

from sam2.web.engine.features import FeatureCache
from sam2.web.engine.runner import Runner
from sam2.web.errors import StudioError
from sam2.web.events import EventBus
from sam2.web.jobs import Jobs
from sam2.web.media.library import MediaLibrary
from sam2.web.projects.images import ImageProject
from sam2.web.projects.names import check_name, free_name
from sam2.web.projects.project import Context, Project
from sam2.web.projects.store import ProjectRecord, ProjectStore, hold_folder, read_record
from sam2.web.projects.video import VideoProject
from sam2.web.schemas import Kind, NewProject, ProjectSummary
from sam2.web.settings import StudioSettings

MEDIA = "media"
"""Folder of a project for what was uploaded."""
SWEEP_SECONDS = 20.0


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
        self._lock = threading.RLock()
        self._open: dict[str, Project] = {}
        self._used: dict[str, float] = {}
        self._closing = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="sam2-projects", daemon=True)
        self._sweeper.start()

    def get(self, name: str) -> Project:
        """A project, opened if it is not open yet.

        Raises:
            StudioError: 404 there is none, 409 it is damaged or open elsewhere.
        """
        check_name(name)
        with self._lock:
            if self._closing.is_set():
                raise StudioError(409, "the studio is closing")
            project = self._open.get(name)
            if project is None:
                read_record(self.settings.projects / name)  # says what is wrong before anything is held
                project = self._open[name] = self._opened(ProjectStore(self.settings.projects / name))
            self._used[name] = time.monotonic()
            return project

    def create(self, new: NewProject) -> tuple[Project, bool]:
        """The project of a path or an upload, and whether it is new.

        Without a name, a project of the same path is resumed.

        Raises:
            StudioError: 404 or 403 no such path, 409 the name is taken by another, 415 it is nothing to open, 422.
        """
        if (new.path is None) == (new.upload is None):
            raise StudioError(422, "exactly one of path and upload must be given")
        if new.path is not None:
            return self.open_path(self.library.to_open(new.path), name=new.name)
        assert new.upload is not None
        with self._lock:
            kind, title = self.library.upload_kind(new.upload), self.library.upload_title(new.upload)
            name = self._free_name(new.name, title)
            folder = self.settings.projects / name
            record = self._record(kind, new.name or title, None)
            store = ProjectStore(folder, record)
            try:
                self.library.claim(new.upload, folder / MEDIA)
                return self._begin(name, store), True
            except BaseException:
                store.close()
                shutil.rmtree(folder, ignore_errors=True)
                raise

    def open_path(self, path: Path, *, name: str | None = None) -> tuple[Project, bool]:
        """As :meth:`create`, of any file or folder of this machine: for who started the studio."""
        path = path.resolve()
        kind = self.library.kind_of(path)
        with self._lock:
            known = self._projects_of(path)
            if name is not None and (self.settings.projects / check_name(name)).exists():
                if name not in known:
                    raise StudioError(409, f"project {name} is of another source: choose another name")
                return self.get(name), False
            if name is None and known:
                return self.get(known[0]), False
            chosen = self._free_name(name, path.stem if path.is_file() else path.name)
            store = ProjectStore(self.settings.projects / chosen, self._record(kind, name or path.name, path))
            try:
                return self._begin(chosen, store), True
            except BaseException:
                store.close()
                shutil.rmtree(store.folder, ignore_errors=True)
                raise

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
        with self._lock:
            if name not in self._open:
                if not (folder / "project.json").is_file():
                    raise StudioError(404, f"there is no project {name}")
                hold_folder(folder).close()  # nobody else has it open; a damaged one can be deleted, too
            self._context.jobs.forget(name)
            self._close(name)
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Close all projects; none can be opened again."""
        self._closing.set()
        with self._lock:
            for name in list(self._open):
                self._close(name)

    def close_idle(self, *, now: float | None = None) -> None:
        """Close projects that nobody has looked at for a while."""
        now = time.monotonic() if now is None else now
        with self._lock:
            for name in list(self._open):
                idle = now - self._used[name] > 60 * self.settings.idle_minutes
                watched = self._context.jobs.running(name) or self._context.events.listeners(name)
                if idle and not watched:
                    self._close(name)

    @property
    def open_names(self) -> list[str]:
        """Projects that are open."""
        with self._lock:
            return list(self._open)

    # ------------------------------------------------------------------ small steps

    def _opened(self, store: ProjectStore) -> Project:
        try:
            record = store.record
            source = _only_file(store.folder / MEDIA, record.kind) if record.source is None else Path(record.source)
            kind = VideoProject if record.kind == "video" else ImageProject
            return kind(store, source, self._context)
        except BaseException:
            store.close()
            raise

    def _begin(self, name: str, store: ProjectStore) -> Project:
        project = self._open[name] = self._opened(store)
        self._used[name] = time.monotonic()
        store.replace(num_frames=project.num_frames)
        return project

    def _record(self, kind: Kind, title: str, source: Path | None) -> ProjectRecord:
        return ProjectRecord(
            title=title, kind=kind, model=self._context.runner.name, source=None if source is None else str(source)
        )

    def _projects_of(self, path: Path) -> list[str]:
        return [item.name for item in self.summaries() if self._source_of(item.name) == str(path)]

    def _source_of(self, name: str) -> str | None:
        return read_record(self.settings.projects / name).source

    def _free_name(self, wanted: str | None, title: str) -> str:
        taken = {folder.name for folder in self.settings.projects.iterdir()}
        if wanted is None:
            return free_name(title, taken)
        check_name(wanted)
        if wanted.casefold() in {name.casefold() for name in taken}:
            raise StudioError(409, f"there is a project {wanted} already")
        return wanted

    def _close(self, name: str) -> None:
        project = self._open.pop(name, None)
        self._used.pop(name, None)
        if project is not None:
            project.close()

    def _sweep(self) -> None:
        while not self._closing.wait(SWEEP_SECONDS):
            self.close_idle()


def _only_file(folder: Path, kind: Kind) -> Path:
    """The folder of uploaded photos, or the one video in it."""
    if kind == "images":
        return folder
    files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return files[0] if files else folder / "missing"
