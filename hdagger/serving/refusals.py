"""What a refused request is told: the one line that the command line would say, as JSON."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from ..errors import HDaggerError
from .jobs import Full
from .limits import Limits

GOOD = {
    "file": "-F file=@photo.png",
    "mask": "-F mask=@holes.png",
    "beside": "-F beside=@kernel.npy",
    "damage": """-F 'damage={"upscale": 4}'""",
    "domain": "-F domain=pictures",
    "prior": "-F prior=photo",
    "method": "-F method=auto",
    "samples": "-F samples=8",
    "steps": "-F steps=20",
    "seed": "-F seed=0",
}
"""Each field of a form, as curl sends it."""

WANTED = {
    "missing": "a field {name}",
    "is_instance_of": "a file for {name}",
    "string_type": "a text for {name}",
    "string_too_long": "a {name} of at most {max_length} letters",
    "greater_than_equal": "{name} of {ge} or more",
    "less_than": "a {name} below {lt}",
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size"), "a whole number for {name}"),
}
"""Kind of a pydantic error -> what was wanted of a field.

References:
    https://docs.pydantic.dev/latest/errors/validation_errors/
"""

ELSEWHERE = {
    400: "Wanted a form of fields and files, but got a body that is none ({detail}). "
    f"Try curl {GOOD['file']}.",
    404: "Wanted something that is here, but {path} is not. Try /api/openapi.json, which has all.",
    405: "Wanted another method for {path}, but got {method}. "
    "Try /api/openapi.json, which has all.",
}
"""Status of what no route of ours refused -> its line."""

LONGEST = 40
"""Letters of what was sent that are told."""


def tell_refusals(app: FastAPI, limits: Limits) -> None:
    """Answers every refusal of a server as ``{"error": ...}``."""
    full = f"Wanted a place in the queue, but {limits.queued} jobs wait already. Try again later."
    app.add_exception_handler(HDaggerError, lambda _, error: line(422, str(error)))
    app.add_exception_handler(Full, lambda _, error: line(429, full))
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)


def line(status: int, text: str) -> JSONResponse:
    """A refusal."""
    return JSONResponse({"error": text}, status)


def field_line(error: Mapping[str, Any]) -> str:
    """What is wrong with a field of a form.

    Args:
        error: As pydantic tells it.
    """
    name, got = str(error["loc"][1]), error.get("input")
    wanted = WANTED.get(error["type"], "another {name}").format(name=name, **error.get("ctx", {}))
    shown = "a file" if isinstance(got, UploadFile) else repr(str(got)[:LONGEST])
    given = "none" if error["type"] == "missing" else shown
    return f"Wanted {wanted}, but got {given}. Try {GOOD[name]}."


async def _http(request: Request, error: Any) -> Response:
    """A refusal of ours as it is, and one of the framework's in words of ours."""
    told, theirs = str(error.detail), ELSEWHERE.get(error.status_code)
    if theirs and not told.startswith("Wanted"):
        path, detail = repr(request.url.path[:100]), told.rstrip(".")
        told = theirs.format(detail=detail, path=path, method=request.method)
    response = line(error.status_code, told)
    response.headers.update(error.headers or {})
    return response


async def _invalid(request: Request, error: Any) -> Response:
    return line(422, field_line(error.errors()[0]))
