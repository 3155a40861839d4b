// A caller that is not ours: obtains a token with openid-client, and signs with it through the service.
//
//   node client.mjs SCENARIO --issuer URL --client-id ID [--client-secret TEXT] [--resource URI] [--scope TEXT]
//                   --service ORIGIN --request REQUEST.json --out RESPONSE.json --ca CA.pem
//                   [--certificate PEM --key PEM] [--other-certificate PEM --other-key PEM] [--proof-alg ALG]
//
// SCENARIO: what is done with the token
//   dpop                 proofs by its key                   mtls                    the certificate it is bound to
//   dpop-other-key       proofs by another key               mtls-other-certificate  another of the same CA
//   dpop-as-bearer       scheme Bearer, no proof             mtls-no-certificate     none
//   dpop-sent-twice      the good request once more
//
// Prints one line: the header of the token, what each server answered, and why. Exit code 0: signed, 1: not.

import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import * as oauth from 'openid-client';
import * as undici from 'undici';

const text = { type: 'string' };
const { values: options, positionals: [scenario] } = parseArgs({
  allowPositionals: true,
  options: {
    issuer: text, 'client-id': text, 'client-secret': text, resource: text, scope: text, service: text, request: text,
    out: text, ca: text, certificate: text, key: text, 'other-certificate': text, 'other-key': text,
    'proof-alg': { ...text, default: 'ES256' },
  },
});

const read = (path) => path && readFileSync(path, 'utf8');
const seen = { authority: [], service: [] };
let lastRequest;

// What openid-client fetches with, so that it shows a certificate, trusts the CA, and its tries are seen.
function fetchShowing(certificate, key) {
  const dispatcher = new undici.Agent({ connect: { ca: read(options.ca), cert: read(certificate), key: read(key) } });
  return async (url, init) => {
    const response = await undici.fetch(url, { ...init, dispatcher });
    lastRequest = () => undici.fetch(url, { ...init, dispatcher });
    if (init.method === 'POST') seen[url.startsWith(options.service) ? 'service' : 'authority'].push(response.status);
    return response;
  };
}

async function token(config, handle) {
  const parameters = { scope: options.scope ?? 'signer.sign signer.verify' };
  if (options.resource) parameters.resource = options.resource;
  const answer = await oauth.clientCredentialsGrant(config, parameters, handle && { DPoP: handle });
  return answer.access_token;
}

const decode = (part) => JSON.parse(Buffer.from(part, 'base64url'));

// What is shown of a token: its header without the key id, and the names of its claims.
function shown(jwt) {
  const [{ kid, ...header }, claims] = jwt.split('.').slice(0, 2).map(decode);
  return `${JSON.stringify(header)} cnf ${Object.keys(claims.cnf ?? {})} claims ${Object.keys(claims).sort()}`;
}

async function run() {
  const [kind, ...misuse] = scenario.split('-');
  const auth = kind === 'mtls' ? oauth.TlsClientAuth() : oauth.ClientSecretBasic(options['client-secret']);
  const own = fetchShowing(options.certificate, options.key);
  const config = await oauth.discovery(
    new URL(options.issuer), options['client-id'], { use_mtls_endpoint_aliases: kind === 'mtls' }, auth,
    { execute: [oauth.allowInsecureRequests], [oauth.customFetch]: own },
  );
  const handle = async () => oauth.getDPoPHandle(config, await oauth.randomDPoPKeyPair(options['proof-alg']));
  let proofs = kind === 'dpop' ? await handle() : undefined;
  const accessToken = await token(config, proofs);
  switch (misuse.join('-')) {
    case '': case 'sent-twice': break;
    case 'other-key': proofs = await handle(); break;
    case 'as-bearer': proofs = undefined; break;
    case 'other-certificate':
      config[oauth.customFetch] = fetchShowing(options['other-certificate'], options['other-key']);
      break;
    case 'no-certificate': config[oauth.customFetch] = fetchShowing(); break;
    default: throw new Error(`unknown scenario ${scenario}`);
  }
  let response = await oauth.fetchProtectedResource(
    config, accessToken, new URL('/api/v1/signer/sign/dsse', options.service), 'POST', read(options.request),
    new Headers({ 'content-type': 'application/json' }), proofs && { DPoP: proofs },
  ).catch((error) => error.response ?? Promise.reject(error));
  if (misuse.join('-') === 'sent-twice') {
    response = await lastRequest();
    seen.service.push(response.status);
  }
  const body = await response.text();
  const problem = response.ok ? '' : ` ${JSON.parse(body).code}: ${JSON.parse(body).detail}`;
  console.log(`authority ${seen.authority} service ${seen.service}${problem} token ${shown(accessToken)}`);
  if (response.ok) writeFileSync(options.out, body);
  return response.ok ? 0 : 1;
}

try {
  process.exitCode = await run();
} catch (error) {
  console.log(`authority ${seen.authority} service ${seen.service} ${error.name}: ${error.message}`, error.cause ?? '');
  process.exitCode = 2;
}
