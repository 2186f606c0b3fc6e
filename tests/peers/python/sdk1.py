"""The CloudEvents SDK for Python, version 1, as functions-framework uses it: a sender."""

from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent

import peer


def make(attributes, data, mode):
    event = CloudEvent(attributes, data)
    return to_structured(event) if mode == "structured" else to_binary(event)


peer.send(make)
