"""The OpenAPI document as one page that needs nothing from the network: each path, a real example, a form to try it."""

import shlex
from collections.abc import Iterator
from html import escape
from typing import Any

import orjson

_STYLE = """
:root{--ink:#1c2420;--soft:#5d6b64;--line:#dde4e0;--leaf:#1f7a4d;--paper:#fff;--mist:#f5f8f6}
*{box-sizing:border-box}body{margin:0 auto;max-width:960px;padding:24px;color:var(--ink);background:var(--paper);
font:16px/1.5 system-ui,sans-serif}h1{margin:0}h2{margin:40px 0 8px;border-bottom:2px solid var(--leaf)}
section{border:1px solid var(--line);border-radius:8px;margin:16px 0;padding:12px 16px}h3{margin:0;font-size:17px}
.method{color:var(--paper);background:var(--leaf);border-radius:4px;padding:2px 8px;margin-right:8px;font-size:13px}
p{margin:6px 0}.soft,summary{color:var(--soft)}code,pre,textarea,input{font:13px/1.45 ui-monospace,monospace}
pre,textarea{background:var(--mist);border:1px solid var(--line);border-radius:6px;padding:10px;width:100%;
overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere}textarea{min-height:140px}table{border-collapse:collapse;
width:100%;font-size:14px}td,th{text-align:left;padding:3px 10px 3px 0;border-bottom:1px solid var(--line);
vertical-align:top}button{background:var(--leaf);color:#fff;border:0;border-radius:6px;padding:6px 14px;margin:4px 8px
4px 0;cursor:pointer}nav a{margin-right:14px}a{color:var(--leaf)}input{width:320px;padding:4px}
@media(prefers-color-scheme:dark){:root{--ink:#e6ece8;--soft:#9aa8a0;--line:#33403a;--leaf:#3fa873;--paper:#141a17;
--mist:#1c2420}}
"""
_SCRIPT = """
for(const code of document.querySelectorAll('.curl'))
  code.textContent=code.textContent.replace('http://127.0.0.1:8080',location.origin);
for(const form of document.querySelectorAll('form')){
  const area=form.querySelector('textarea'),out=form.querySelector('.out');
  const media=()=>form.querySelector('select').selectedOptions[0];
  form.querySelector('select').onchange=()=>{area.value=media().dataset.body};
  form.querySelector('.copy').onclick=()=>navigator.clipboard.writeText(
    form.parentNode.querySelector('.curl').textContent);
  form.onsubmit=async event=>{
    event.preventDefault();out.hidden=false;out.textContent='…';
    const headers={'content-type':media().dataset.type},key=document.getElementById('key').value;
    if(key)headers['x-api-key']=key;
    try{
      const answer=await fetch(form.dataset.path,{method:'POST',headers,body:area.value});
      const text=await answer.text();
      try{out.textContent=answer.status+'\\n'+JSON.stringify(JSON.parse(text),null,2)}
      catch{out.textContent=answer.status+'\\n'+text}
    }catch(error){out.textContent=String(error)}
  };
}
"""
_HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><style>{style}</style></head><body>
<h1>{title} <small class="soft">{version}</small></h1><p>{about}</p>
<p><label>Key, if this gateway asks for one: <input id="key" type="password" autocomplete="off"></label></p>
"""


def page(document: dict[str, Any]) -> str:
    """The document as HTML."""
    info = document["info"]
    head = _HEAD.format(
        title=escape(info["title"]),
        style=_STYLE,
        version=escape(info["version"]),
        about=escape(info["description"]),
    )
    tags = document["tags"]
    links = "".join(f'<a href="#{tag["name"]}">{tag["name"]}</a>' for tag in tags)
    rooms = "".join(_room(tag, document) for tag in tags)
    rows = "".join(_columns(name, schema) for name, schema in document["components"]["schemas"].items())
    return f'{head}<nav>{links}<a href="#rows">rows</a></nav>{rooms}<h2 id="rows">Rows</h2>{rows}{_foot()}'


def _foot() -> str:
    return f"<script>{_SCRIPT}</script></body></html>\n"


def _room(tag: dict[str, Any], document: dict[str, Any]) -> str:
    sections = "".join(
        _section(path, method, operation, document)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag["name"] in operation["tags"]
    )
    return f'<h2 id="{tag["name"]}">{tag["name"]}</h2><p class="soft">{escape(tag["description"])}</p>{sections}'


def _section(path: str, method: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    examples = list(_examples(operation))
    return (
        f'<section><h3><span class="method">{method.upper()}</span><code>{escape(path)}</code></h3>'
        f"<p>{escape(operation['summary'])}</p>{_words(operation)}{_parameters(operation)}"
        f'{_form(path, examples)}<pre class="curl">{escape(_curl(path, method, examples))}</pre>'
        f"{_answers(operation, document)}</section>"
    )


def _words(operation: dict[str, Any]) -> str:
    return f'<p class="soft">{escape(operation["description"])}</p>' if "description" in operation else ""


def _parameters(operation: dict[str, Any]) -> str:
    found = [
        (f"{parameter['name']} ({parameter['in']})", parameter.get("description") or parameter["schema"]["description"])
        for parameter in operation.get("parameters", ())
    ]
    return _table(found) if found else ""


def _answers(operation: dict[str, Any], document: dict[str, Any]) -> str:
    shared = document["components"]["responses"]
    found = [
        (status, answer.get("description") or shared[answer["$ref"].rpartition("/")[2]]["description"])
        for status, answer in operation["responses"].items()
    ]
    return f"<details><summary>Answers</summary>{_table(found)}</details>"


def _examples(operation: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, media type and text of each example of a body."""
    for media, taken in operation.get("requestBody", {"content": {}})["content"].items():
        for name, example in taken.get("examples", {}).items():
            value = example["value"]
            text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
            yield name, media, text


def _form(path: str, examples: list[tuple[str, str, str]]) -> str:
    if not examples or "{" in path:
        return ""
    options = "".join(
        f'<option data-type="{escape(media)}" data-body="{escape(text)}">{escape(name.replace("_", " "))}</option>'
        for name, media, text in examples
    )
    return (
        f'<form data-path="{escape(path)}"><select>{options}</select>'
        f'<textarea spellcheck="false">{escape(examples[0][2])}</textarea>'
        '<button>Send</button><button type="button" class="copy">Copy as curl</button>'
        '<pre class="out" hidden></pre></form>'
    )


def _curl(path: str, method: str, examples: list[tuple[str, str, str]]) -> str:
    address = shlex.quote(f"http://127.0.0.1:8080{path}")
    if method == "get":
        return f"curl {address}"
    if not examples:
        return f"curl -X POST {address} -H 'content-type: application/json' -d @body.json"
    _, media, text = examples[0]
    body = orjson.dumps(orjson.loads(text)).decode() if media.endswith("json") else text
    return f"curl -X POST {address} -H 'content-type: {media}' -d {shlex.quote(body)}"


def _columns(name: str, schema: dict[str, Any]) -> str:
    rows = [(column, _type(found), found.get("description", "")) for column, found in schema["properties"].items()]
    return f"<section><h3>{escape(name)}</h3><p>{escape(schema['description'])}</p>{_table(rows)}</section>"


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(either["type"] for either in schema["anyOf"])
    if "type" not in schema:
        return "anything"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    said = " or ".join("time in ISO 8601" if kind == "string" and "pattern" in schema else kind for kind in kinds)
    listed = [str(value) for value in schema.get("enum", schema.get("examples", ())) if value is not None]
    limits = (
        f", {schema.get('minimum', '…')} to {schema.get('maximum', '…')}" if {"minimum", "maximum"} & {*schema} else ""
    )
    return said + limits + (f": {', '.join(listed)}" if listed else "")


def _table(rows: list[Any]) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{lines}</table>"
