"""Functions of functions-framework: one that is given events, and one that is given requests and answers."""

import functions_framework
from cloudevents.conversion import to_binary
from cloudevents.http import CloudEvent, from_http

import peer


@functions_framework.cloud_event
def on_event(event):
    """Given the event; what it returns isn't sent."""
    peer.seen(event.get_attributes(), event.get_data())


@functions_framework.http
def on_request(request):
    """Given the request, so that it can answer with an event."""
    event = from_http(request.headers, request.get_data())
    attributes = event.get_attributes()
    peer.seen(attributes, event.get_data())
    headers, body = to_binary(CloudEvent(peer.reply_to(attributes), {"seen": attributes["id"]}))
    return body, 200, headers
