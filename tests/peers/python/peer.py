"""What the Python peers share: how an event is written down, and how one is read from a line."""

import base64
import json
import os
import sys
from http.client import HTTPConnection
from urllib.parse import urlsplit


def text(value):
    """An attribute's value as the CloudEvents canonical text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if hasattr(value, "isoformat"):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)


def seen(attributes, data):
    """Notes an event as the API showed it."""
    line = {"attributes": {name: text(value) for name, value in attributes.items() if value is not None}}
    if data is None:
        line["bytes"] = ""
    elif isinstance(data, (bytes, bytearray)):
        line["bytes"] = base64.b64encode(bytes(data)).decode()
    elif isinstance(data, str):
        line["bytes"] = base64.b64encode(data.encode()).decode()
    else:
        line["json"] = data
    with open(os.environ["SEEN"], "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def reply_to(attributes):
    """The attributes of the answer."""
    reply = {
        "id": "reply-" + attributes["id"],
        "type": "peer.reply",
        "source": "/peers/" + os.environ["PEER"],
        "datacontenttype": "application/json",
    }
    if attributes.get("note") is not None:
        reply["note"] = attributes["note"]
    return reply


def value_of(extension):
    """An extension as Python holds it."""
    kind, value = extension["t"], extension["v"]
    return base64.b64decode(value) if kind == "bytes" else value


def data_of(written):
    """The data as a user would hand it to the SDK."""
    data = written["data"]
    if data is None:
        return None
    if "json" in data:
        return json.loads(data["json"])
    if "text" in data:
        return data["text"]
    return base64.b64decode(data["base64"])


def post(url, headers, body):
    """Posts with exactly these headers: the answer's status and text."""
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname, address.port, timeout=20)
    connection.request("POST", address.path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(errors="replace")


def send(make):
    """Sends each line; `make` gives headers and body of (attributes, data, mode)."""
    url, mode = sys.argv[2], sys.argv[3]
    for line in sys.stdin:
        written = json.loads(line)
        extensions = written.pop("extensions")
        said = {"id": written["id"]}
        try:
            data = data_of(written)
            written.pop("data")
            attributes = written | {name: value_of(value) for name, value in extensions.items()}
            headers, body = make(attributes, data, mode)
            said["status"], answer = post(url, headers, body or b"")
            if said["status"] >= 300:
                said["error"] = answer
        except Exception as error:  # What an SDK refuses with is any exception.
            said["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(said), flush=True)
