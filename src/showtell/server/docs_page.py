"""GET /docs: the API to read, made from its OpenAPI. Plain HTML without a script, so nothing comes from elsewhere."""

import base64
import hashlib
import json
from html import escape
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
h1 { margin: 0 0 .5rem; } h2 { margin: 2.5rem 0 .3rem; font-size: 1.15rem; }
code, pre { font: .9em/1.45 ui-monospace, monospace; } pre { background: var(--soft); padding: .8rem; overflow: auto; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; padding: .3rem .6rem;
border-bottom: 1px solid var(--line); } .method { border: 1px solid; border-radius: .3rem; padding: .05rem .4rem; }
details { margin: .4rem 0; } summary { cursor: pointer; } .wide { overflow-x: auto; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """The page."""
    return HTMLResponse(_page(request.app.openapi()), headers={"Content-Security-Policy": _POLICY})


def _page(api: dict[str, Any]) -> str:
    about = api["info"]
    routes = "".join(
        _route(api, path, method, told) for path, methods in api["paths"].items() for method, told in methods.items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(about["title"])}: API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>"
        f"<h1>{escape(about['title'])} {escape(about['version'])}: API</h1>"
        f"{_text(about.get('description', ''))}"
        f'<p><a href="openapi.json">openapi.json</a> says the same to programs.</p>{routes}</main></body></html>'
    )


def _route(api: dict[str, Any], path: str, method: str, told: dict[str, Any]) -> str:
    parts = [
        f'<h2><code class="method">{escape(method.upper())}</code> <code>{escape(path)}</code></h2>',
        f"<p><strong>{escape(told.get('summary', ''))}</strong></p>",
        _text(told.get("description", "")),
        _table([(p["name"], p.get("schema", {}), p.get("description", "")) for p in told.get("parameters", [])]),
    ]
    for kind, content in told.get("requestBody", {}).get("content", {}).items():
        schema = _resolved(api, content.get("schema", {}))
        rows = [(name, _resolved(api, one), "") for name, one in schema.get("properties", {}).items()]
        parts.append(f"<details><summary>Body as <code>{escape(kind)}</code></summary>{_table(rows)}</details>")
        parts += [_example(f"Example: {one.get('summary', name)}", one["value"]) for name, one in _examples(content)]
    for status, answer in told.get("responses", {}).items():
        parts.append(f"<p><code>{escape(str(status))}</code> {escape(answer.get('description', ''))}</p>")
        for content in answer.get("content", {}).values():
            parts += [_example("Example", one["value"]) for _, one in _examples(content)]
    return "".join(parts)


def _examples(content: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    one = [("answer", {"value": content["example"]})] if "example" in content else []
    return one + list(content.get("examples", {}).items())


def _example(title: str, value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return f'<details><summary>{escape(title)}</summary><pre tabindex="0">{escape(text)}</pre></details>'


def _resolved(api: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema in the place of a reference to it."""
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = api["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _table(rows: list[tuple[str, dict[str, Any], str]]) -> str:
    if not rows:
        return ""
    body = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_kind(schema))}</td>"
        f"<td>{escape(text or _described(schema))}</td></tr>"
        for name, schema, text in rows
    )
    return f'<div class="wide"><table><tr><th>name</th><th>type</th><th>meaning</th></tr>{body}</table></div>'


def _kind(schema: dict[str, Any]) -> str:
    kinds = [schema, *schema.get("anyOf", [])]
    names = [str(one["type"]) for one in kinds if "type" in one]
    limits = [f"{schema[end]}" for end in ("minimum", "maximum") if end in schema]
    return " or ".join(dict.fromkeys(names)) + (f", {' to '.join(limits)}" if limits else "")


def _described(schema: dict[str, Any]) -> str:
    return next((str(one["description"]) for one in [schema, *schema.get("anyOf", [])] if "description" in one), "")


def _text(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part.strip())
