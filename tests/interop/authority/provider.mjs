// An Authority that is not ours: oidc-provider, on loopback, with what the signer needs of a token.
//
//   node provider.mjs --tenant TID --installation INST --certificate PEM --key PEM --client-ca PEM [--subject URI]…
//     [--mail ADDRESS]
//
// Each subject is a client, too, that gets tokens about itself for Fulcio, which name that address as well, if any.
// Listens twice under one issuer: plain HTTP, and TLS that asks for client certificates, advertised as
// `mtls_endpoint_aliases` (RFC 8705 §5). Prints one line of JSON when it is ready: `{"ready":true,"issuer":…}`.

import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import Provider from 'oidc-provider';

const text = { type: 'string' };
const { values: options } = parseArgs({
  options: {
    tenant: text, installation: text, certificate: text, key: text, 'client-ca': text,
    subject: { type: 'string', multiple: true, default: [] }, mail: text,
  },
});

// What a client asks for (RFC 8707); its tokens name the audience instead.
const resource = 'urn:stellaops:signer';
const audiences = { [resource]: 'signer', 'urn:sigstore': 'sigstore' };
const scope = 'signer.sign signer.verify';

const algorithms = {
  ES256: ['ec', { namedCurve: 'P-256' }], ES384: ['ec', { namedCurve: 'P-384' }],
  PS256: ['rsa', { modulusLength: 2048 }], EdDSA: ['ed25519', {}], Ed25519: ['ed25519', {}],
};

function signingKeys() {
  return Object.entries(algorithms).map(([alg, [kind, parameters]]) => ({
    ...generateKeyPairSync(kind, parameters).privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomUUID(),
  }));
}

function algorithmOf({ clientId }) {
  return Object.keys(algorithms).find((alg) => clientId === `scanner-${alg.toLowerCase()}`) ?? 'ES256';
}

// One client for each algorithm that its tokens are signed by, one that shows a certificate, and the subjects.
function clients() {
  const common = { redirect_uris: [], response_types: [], grant_types: ['client_credentials'], scope };
  const bySecret = Object.keys(algorithms).map((alg) => ({
    ...common, client_id: `scanner-${alg.toLowerCase()}`, client_secret: 'not-secret', dpop_bound_access_tokens: true,
  }));
  const byCertificate = {
    ...common, client_id: 'scanner-mtls', token_endpoint_auth_method: 'tls_client_auth',
    tls_client_auth_subject_dn: 'CN=scanner', tls_client_certificate_bound_access_tokens: true,
  };
  const subjects = options.subject.map((client_id) => ({ ...common, client_id, client_secret: 'not-secret' }));
  return [...bySecret, byCertificate, ...subjects];
}

function configuration(mtlsOrigin) {
  const peer = (ctx) => ctx.socket.getPeerX509Certificate?.();
  return {
    clients: clients(),
    jwks: { keys: signingKeys() },
    scopes: scope.split(' '),
    clientAuthMethods: ['client_secret_basic', 'tls_client_auth'],
    enabledJWA: {
      idTokenSigningAlgValues: Object.keys(algorithms), dPoPSigningAlgValues: Object.keys(algorithms),
    },
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    discovery: { mtls_endpoint_aliases: { token_endpoint: `${mtlsOrigin}/token` } },
    extraTokenClaims: () => ({
      tid: options.tenant, inst: options.installation,
      ...(options.mail && { email: options.mail, email_verified: true }),
    }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
      mTLS: {
        enabled: true, certificateBoundAccessTokens: true, tlsClientAuth: true, getCertificate: peer,
        certificateAuthorized: (ctx) => ctx.socket.authorized,
        certificateSubjectMatches: (ctx, property, expected) =>
          property === 'tls_client_auth_subject_dn' && peer(ctx).subject === expected,
      },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (ctx, indicator, client) => ({
          scope, audience: audiences[indicator], accessTokenTTL: 300, accessTokenFormat: 'jwt',
          jwt: { sign: { alg: algorithmOf(client) } },
        }),
        useGrantedResource: () => true,
      },
    },
  };
}

async function listen(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${server.address().port}`;
}

const plain = http.createServer();
const tls = https.createServer({
  cert: readFileSync(options.certificate), key: readFileSync(options.key), ca: readFileSync(options['client-ca']),
  requestCert: true, rejectUnauthorized: false,
});
const issuer = `http://${await listen(plain)}`;
const provider = new Provider(issuer, configuration(`https://${await listen(tls)}`));
provider.on('server_error', (ctx, error) => console.error(error));
plain.on('request', provider.callback());
tls.on('request', provider.callback());
console.log(JSON.stringify({ ready: true, issuer, resource }));
