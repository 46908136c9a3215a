"""REST, and the page, which is its first user.

Every refusal is the command line's one line, as ``{"error": ...}``, with a status of 4xx.
"""

import base64
import io
import json
import re
import shutil
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, FastAPI, File, Form, Response, Security
from fastapi.responses import FileResponse
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from pydantic import InstanceOf, WithJsonSchema
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from ..domain import DOMAINS, Domain, Job
from ..errors import FileError, HDaggerError, SettingError
from ..files import line_of
from ..priors import cards
from ..recipe import CHOSEN, Recipe
from ..samplers import METHODS
from .answers import Choices, Error, Kind, Look, Made, PriorCard, Status
from .guard import Guard
from .jobs import Folder, Queue, Task
from .limits import Limits
from .refusals import tell_refusals

PAGE = Path(__file__).with_name("page")
Upload: TypeAlias = Annotated[
    InstanceOf[UploadFile], WithJsonSchema({"type": "string", "format": "binary"})
]
"""A file that was sent."""

LONGEST = 50
"""Letters of a file's name on the disk, without its ending."""

UNPACKED = 4
"""Times as many bytes as may be sent may an archive unpack to."""

REPORT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""What a report may do: it has its style and its pictures inside, and no script."""


def refused(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How a request may be refused, for OpenAPI."""
    return {status: {"model": Error} for status in (401, 403, *statuses)}


def application(
    root: Path,
    limits: Limits,
    prior: str | None = None,
    token: str | None = None,
    only_here: bool = True,
    at_once: int = 1,
) -> FastAPI:
    """The server.

    Args:
        root: Where jobs have their folders.
        limits: Of a job, and of the queue.
        prior: Of pictures, where a request names none; None for that of their kind.
        token: What a request has to know; None for nothing.
        only_here: Whether it is reached by this machine's own names only.
        at_once: Jobs that run at a time.
    """
    queue = Queue(root, limits, at_once)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        queue.close()

    app = FastAPI(
        title="hdagger",
        version=version("hdagger"),
        summary="Restores what was measured, and says how sure it is.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=life,
    )
    app.state.queue = queue
    security = [Security(HTTPBearer(auto_error=False))] if token else []
    app.include_router(routes(queue, limits, prior), prefix="/api", dependencies=security)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    tell_refusals(app, limits)
    app.add_middleware(Guard, limits=limits, token=token, only_here=only_here)
    return app


def routes(queue: Queue, limits: Limits, prior: str | None) -> APIRouter:
    """What can be asked under ``/api``."""
    api = APIRouter()
    reading = Lock()

    def task_of(id: str) -> Task:
        task = queue.get(id)
        if task is None:
            raise HTTPException(
                404,
                f"Wanted a job of this server, but none is called {id[:40]!r}. The last "
                f"{limits.kept} that are over are kept.",
            )
        return task

    def status_of(task: Task) -> Status:
        return Status.of(task, queue.position(task))

    @api.get("/choices", responses=refused())
    def choices() -> Choices:
        """What can be asked for: kinds of files, methods, priors, limits."""
        kinds = [DOMAINS[name] for name in DOMAINS]
        return Choices(
            version=version("hdagger"),
            domains=[
                Kind(kind.name, kind.suffixes, kind.words, kind.named, _prior(kind, prior))
                for kind in kinds
                if kind.suffixes
            ],
            methods=[*CHOSEN, *METHODS],
            priors=[
                PriorCard(card.name, card.subject, card.channels, card.licence, card.unfit_for)
                for card in cards.known()
            ],
            limits=asdict(limits),
        )

    @api.post("/look", responses=refused(400, 413, 422))
    def look(
        file: Annotated[Upload, File()],
        domain: Annotated[
            str,
            Form(
                max_length=100,
                description="Its kind; by default the first of those whose files end so that "
                "can read it.",
            ),
        ] = "",
    ) -> Look:
        """What a file tells by itself, before anything is asked for."""
        kinds = [_kind(domain)] if domain else _kinds_of(_sent_name(file))
        folder = Folder(queue.root)
        try:
            source = _saved(file, folder.given)
            with reading:
                return _first_look(kinds, source, folder, limits)
        finally:
            folder.remove()

    @api.post("/jobs", status_code=201, responses=refused(400, 413, 422, 429))
    def restore(
        file: Annotated[Upload, File()],
        mask: Annotated[Upload | None, File()] = None,
        beside: Annotated[list[Upload] | None, File()] = None,
        domain: Annotated[str, Form(max_length=100)] = "pictures",
        damage: Annotated[
            str,
            Form(
                max_length=10_000,
                description="What happened, as a JSON object: what a recipe's table [damage] "
                "has. A file that it names is sent along as beside.",
            ),
        ] = "{}",
        prior_name: Annotated[str, Form(alias="prior", max_length=100)] = "",
        method: Annotated[str, Form(max_length=100)] = "auto",
        samples: Annotated[int, Form(ge=1)] = 8,
        steps: Annotated[int, Form(ge=0, description="0 for enough.")] = 0,
        seed: Annotated[int, Form(ge=0, lt=2**63)] = 0,
    ) -> Status:
        """Puts a file into the queue, to be restored; what its damage is not told, it tells."""
        queue.check_room()
        limits.check("steps", steps)
        limits.check("samples", samples)
        kind = _kind(domain)
        known = [card.name for card in cards.known()]
        if prior_name and prior_name not in known:
            raise SettingError(
                f"Wanted a prior, one of {', '.join(known)}, but got {prior_name[:40]!r}. "
                "Leave it out for the one that suits."
            )
        chosen = prior_name or _prior(kind, prior)
        recipe = Recipe(method=method, samples=samples, steps=steps, seed=seed, prior=chosen)
        said = _object(damage)
        folder = Folder(queue.root)
        try:
            source = _saved(file, folder.given)
            sent = [one for one in (mask, *(beside or [])) if one is not None]
            extras = {one.filename or "": _saved(one, folder.beside) for one in sent}
            if mask is not None:
                said.setdefault("mask", mask.filename or "")
            with reading, _told(folder):
                for path in (source, *extras.values()):
                    _check_extent(kind, path, limits)
                job = kind.job(source, kind.located(said, _places(extras)))
            height, width = (job.measurement.signal_shape or tuple(job.measurement.y.shape))[-2:]
            limits.check("pixels", height * width)
            task = Task(folder, _sent_name(file), job, recipe, list(extras.values()))
            queue.add(task)
        except BaseException:
            folder.remove()
            raise
        return status_of(task)

    @api.get("/jobs/{id}", responses=refused(404, 422))
    def status(id: str) -> Status:
        """Where a job is."""
        return status_of(task_of(id))

    @api.get("/jobs/{id}/preview.png", responses=_png(404, 422), response_class=Response)
    def preview(id: str) -> Response:
        """What the prior sees at the present step; nothing (204) of a job that does not run."""
        png = task_of(id).preview()
        return Response(status_code=204) if png is None else Response(png, media_type="image/png")

    @api.get("/jobs/{id}/files", responses=refused(404, 422))
    def files(id: str) -> list[Made]:
        """What a job has made; nothing before it is done."""
        made = task_of(id).folder.files()
        return [Made(name, path.stat().st_size) for name, path in made.items()]

    @api.get("/jobs/{id}/files/{name:path}", responses=_any(404, 422), response_class=Response)
    def file(id: str, name: str) -> FileResponse:
        """One of the files that a job has made."""
        made = task_of(id).folder.files()
        if name not in made:
            raise HTTPException(
                404,
                f"Wanted a file that this job made, but {name[:99]!r} is none. List them.",
            )
        headers = {"Content-Security-Policy": REPORT} if name.endswith(".html") else {}
        return FileResponse(made[name], headers=headers)

    @api.post("/jobs/{id}/cancel", responses=refused(404, 422))
    def cancel(id: str) -> Status:
        """Ends a job, at its present step if it runs; one that is over stays as it is."""
        task = task_of(id)
        queue.cancel(task)
        return status_of(task)

    @api.delete("/jobs/{id}", status_code=204, responses=refused(404, 422))
    def delete(id: str) -> None:
        """Ends a job and deletes its files."""
        queue.remove(task_of(id))

    return api


def _prior(kind: Domain, chosen: str | None) -> str:
    """The prior where none is named: the server's, which is for pictures, or the kind's own."""
    return chosen if chosen and kind.name == "pictures" else kind.prior


def _kind(name: str) -> Domain:
    DOMAINS.check(name)
    return DOMAINS[name]


def _kinds_of(name: str) -> list[Domain]:
    """The kinds of files that end so; pictures, if there are none."""
    kinds = [DOMAINS[kind] for kind in DOMAINS]
    return [kind for kind in kinds if name.lower().endswith(kind.suffixes)] or kinds[:1]


def _object(text: str) -> dict[str, Any]:
    """The object that a text of JSON is.

    Raises:
        SettingError: It is none, or holds more than words and numbers.
    """
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not all(
        isinstance(value, str | int | float | bool) for value in said.values()
    ):
        raise SettingError(
            f"Wanted a damage as a JSON object of words and numbers, but got {text[:40]!r}. "
            'Try {"upscale": 4}.'
        )
    return said


@contextmanager
def _told(folder: Folder) -> Iterator[None]:
    """What reading raises is told in its line, without the folder's name."""
    try:
        yield
    except HDaggerError as error:
        raise SettingError(folder.hidden(str(error))) from error
    except Exception as error:  # whatever a file makes a reader raise
        raise FileError(
            f"Wanted a file that can be read, but got {folder.hidden(line_of(error))}. "
            "Look at what was sent, and what was said of it."
        ) from error


def _sent_name(file: UploadFile) -> str:
    """The last part of the name that a file was sent by, however its path was written."""
    return (file.filename or "").replace("\\", "/").rpartition("/")[2] or "file"


def _saved(file: UploadFile, folder: Path) -> Path:
    """The file on the disk, by a name of plain letters that ends as the sent one does."""
    folder.mkdir(exist_ok=True)
    sent = Path(_sent_name(file))
    ending = sent.suffix.lower() if re.fullmatch(r"\.\w{1,9}", sent.suffix) else ""
    stem = re.sub(r"[^\w-]", "_", sent.stem)[:LONGEST] or "_"
    path = folder / f"{stem}{ending}"
    if path.exists():
        raise SettingError(
            f"Wanted files of different names, but got {path.name} twice. Rename one."
        )
    with path.open("wb") as target:
        shutil.copyfileobj(file.file, target)
    return path


def _places(sent: Mapping[str, Path]) -> Callable[[str], Path]:
    """From the name of a file to where it lies; one that was not sent is refused."""

    def place(name: str) -> Path:
        if name not in sent:
            raise SettingError(
                f"Wanted the file {name[:100]!r} sent along, but got "
                f"{', '.join(sent)[:200] or 'none'}. Send it as beside."
            )
        return sent[name]

    return place


def _check_extent(kind: Domain, source: Path, limits: Limits) -> None:
    """Refuses what unpacks to too much, before it is unpacked."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > UNPACKED * limits.bytes:
            raise SettingError(
                f"Wanted at most {UNPACKED * limits.bytes} bytes unpacked, but {source.name} has "
                f"{size}. Crop it."
            )
    limits.check("pixels", kind.pixels_in(source) or 0)


def _first_look(kinds: Sequence[Domain], source: Path, folder: Folder, limits: Limits) -> Look:
    """What the first of these kinds that can read a file tells of it.

    Raises:
        HDaggerError: None can; it is what the first one says.
    """
    errors: list[HDaggerError] = []
    for kind in kinds:
        try:
            with _told(folder):
                _check_extent(kind, source, limits)
                job, wanted = kind.look(source)
                return _look(source.name, kind, job, folder.hidden(wanted))
        except HDaggerError as error:
            errors.append(error)
    raise errors[0]


def _look(name: str, kind: Domain, job: Job | None, wanted: str) -> Look:
    picture, size = "", (0, 0)
    given = None if job is None else job.given()
    if given is not None:
        png = io.BytesIO()
        given.save(png, "PNG")
        picture, size = base64.b64encode(png.getvalue()).decode(), given.size
    return Look(
        name=name,
        domain=kind.name,
        width=size[0],
        height=size[1],
        operator="none" if job is None or wanted else job.measurement.operator,
        noise=0.0 if job is None or wanted else job.measurement.noise,
        notes=[] if job is None or wanted else list(job.notes),
        wanted=wanted,
        picture=picture,
    )


def _png(*statuses: int) -> dict[int | str, dict[str, Any]]:
    nothing = {"description": "There is nothing to see."}
    return {200: {"content": {"image/png": {}}}, 204: nothing, **refused(*statuses)}


def _any(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {"application/octet-stream": {}}}, **refused(*statuses)}
