"""A function of func-python, the runtime of Knative's `func` for Python."""

from cloudevents.core.v1.event import CloudEvent
from func_python.cloudevent import serve

import peer


async def handle(scope, receive, send):
    event = scope["event"]
    attributes = event.get_attributes()
    peer.seen(attributes, event.get_data())
    reply = {"specversion": "1.0"} | peer.reply_to(attributes)
    await send(CloudEvent(reply, {"seen": attributes["id"]}))


serve(handle)
