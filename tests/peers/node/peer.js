// What the Node peers share: how an event is written down, and how it is answered.
'use strict';

const fs = require('fs');
const { CloudEvent } = require('cloudevents');

const DATA = new Set(['data', 'data_base64']);

function text(value) {
  if (value instanceof Date) return value.toISOString();
  if (Buffer.isBuffer(value) || value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  return String(value);
}

// Notes an event as the API showed it.
function seen(event) {
  const line = { attributes: {} };
  for (const [name, value] of Object.entries(event)) {
    if (DATA.has(name) || value === undefined || value === null || typeof value === 'function') continue;
    line.attributes[name] = text(value);
  }
  let data = event.data;
  // The version of the SDK that some runtimes have, and what they hand on, keeps bytes as base64 only.
  if (data === undefined && typeof event.data_base64 === 'string') data = Buffer.from(event.data_base64, 'base64');
  if (data === undefined || data === null) {
    if (data === null) line.json = null;
    else line.bytes = '';
  } else if (typeof data === 'string') {
    line.bytes = Buffer.from(data, 'utf8').toString('base64');
  } else if (ArrayBuffer.isView(data)) {
    // Of a structured event the SDK makes a Uint32Array, with a byte in each of its elements.
    line.bytes = Buffer.from(data).toString('base64');
  } else {
    line.json = data;
  }
  fs.appendFileSync(process.env.SEEN, JSON.stringify(line) + '\n');
}

// The answer.
function replyTo(event) {
  const reply = {
    id: `reply-${event.id}`,
    type: 'peer.reply',
    source: `/peers/${process.env.PEER}`,
    datacontenttype: 'application/json',
    data: { seen: event.id },
  };
  if (event.note !== undefined) reply.note = event.note;
  return new CloudEvent(reply);
}

module.exports = { seen, replyTo };
