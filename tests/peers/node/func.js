// A function of faas-js-runtime, the runtime of Knative's `func` for Node.
'use strict';

const { seen, replyTo } = require('./peer');

async function handle(context, event) {
  seen(event);
  return replyTo(event);
}

module.exports = { handle };
