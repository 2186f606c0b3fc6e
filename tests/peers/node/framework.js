// Functions of functions-framework: one that is given events, and one that is given requests and answers.
'use strict';

const functions = require('@google-cloud/functions-framework');
const { HTTP } = require('cloudevents');
const { seen, replyTo } = require('./peer');

functions.cloudEvent('onEvent', (event) => {
  seen(event);
});

functions.http('onRequest', (request, response) => {
  // The framework has parsed a body that it knows; the bytes are kept beside it.
  const text = /json|text|xml/.test(request.headers['content-type'] || '');
  const raw = request.rawBody || Buffer.alloc(0);
  const event = HTTP.toEvent({ headers: request.headers, body: text ? raw.toString('utf8') : raw });
  seen(event);
  const message = HTTP.binary(replyTo(event));
  response.set(message.headers).status(200).send(message.body);
});
