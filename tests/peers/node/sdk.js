// The CloudEvents SDK for JavaScript: a sender, and a receiver on Node's server.
'use strict';

const http = require('http');
const readline = require('readline');
const { CloudEvent, HTTP } = require('cloudevents');
const { seen, replyTo } = require('./peer');

function valueOf({ t, v }) {
  return t === 'bytes' ? new Uint8Array(Buffer.from(v, 'base64')) : v;
}

function dataOf(data) {
  if (data === null) return undefined;
  if ('json' in data) return JSON.parse(data.json);
  if ('text' in data) return data.text;
  return new Uint8Array(Buffer.from(data.base64, 'base64'));
}

async function send(url, mode) {
  // The message is the SDK's; the request is Node's, since the SDK's transport hides the status.
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { extensions, data, ...attributes } = JSON.parse(line);
    const said = { id: attributes.id };
    try {
      for (const [name, extension] of Object.entries(extensions)) attributes[name] = valueOf(extension);
      const event = new CloudEvent({ ...attributes, data: dataOf(data) });
      const message = mode === 'structured' ? HTTP.structured(event) : HTTP.binary(event);
      const [status, text] = await post(url, message);
      said.status = status;
      if (status >= 300) said.error = text;
    } catch (error) {
      said.error = `${error.name}: ${error.message}`;
    }
    console.log(JSON.stringify(said));
  }
}

function post(url, message) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: 'POST', headers: message.headers }, (answer) => {
      const chunks = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.on('end', () => resolve([answer.statusCode, Buffer.concat(chunks).toString('utf8')]));
    });
    request.on('error', reject);
    request.end(message.body);
  });
}

function receive() {
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      try {
        const raw = Buffer.concat(chunks);
        // As its own examples do: text, but bytes where the type isn't text.
        const type = request.headers['content-type'] || '';
        const body = /json|text|xml/.test(type) ? raw.toString('utf8') : raw;
        const event = HTTP.toEvent({ headers: request.headers, body });
        seen(event);
        const message = HTTP.binary(replyTo(event));
        response.writeHead(200, message.headers);
        response.end(message.body);
      } catch (error) {
        response.writeHead(500, { 'content-type': 'text/plain; charset=utf-8' });
        response.end(`${error.name}: ${error.message}`);
      }
    });
  });
  server.listen(Number(process.env.PORT), '127.0.0.1');
}

if (process.argv[2] === 'send') send(process.argv[3], process.argv[4]);
else receive();
