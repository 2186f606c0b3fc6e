"""The CloudEvents SDK for Python, version 2: a sender."""

from datetime import datetime

from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

import peer


def make(attributes, data, mode):
    # This version wants a `datetime`, and no version where it is the only one.
    attributes = {"specversion": "1.0"} | attributes
    if "time" in attributes:
        attributes["time"] = datetime.fromisoformat(attributes["time"].replace("Z", "+00:00"))
    event = CloudEvent(attributes, data)
    message = to_structured_event(event) if mode == "structured" else to_binary_event(event)
    return message.headers, message.body


peer.send(make)
