// Judge: verifies a Sigstore bundle with sigstore-js, which shares no code with the signer.
//
//   node sigstore_verify.mjs BUNDLE.json --key PUBLIC_KEY.pem
//   node sigstore_verify.mjs BUNDLE.json --trusted-root ROOT.json --keys KEYS.json   (GET /trust/keys)
//   node sigstore_verify.mjs BUNDLE.json --trusted-root ROOT.json --subject SAN --issuer URL [--at TIME] [--sct]
//
// No transparency log is asked for, and a promise of a certificate log only by --sct. A keyless bundle needs a time: its own timestamps, or
// --at when it has none. Prints one line; exit code 0: verified, 1: not.

import { createHash, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { bundleFromJSON } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { Verifier, toSignedEntity, toTrustMaterial } from '@sigstore/verify';

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));

function judge(path, options) {
  const bundle = bundleFromJSON(readJson(path));
  if (bundle.mediaType !== 'application/vnd.dev.sigstore.bundle.v0.3+json') {
    throw new Error(`mediaType is ${bundle.mediaType}`);
  }
  const root = TrustedRoot.fromJSON(options['trusted-root'] ? readJson(options['trusted-root']) : {});
  const keys = {};
  const trustKey = (pem, validFor) => {
    const rawBytes = createPublicKey(pem).export({ type: 'spki', format: 'der' });
    keys[createHash('sha256').update(rawBytes).digest('base64')] = { rawBytes, validFor };
  };
  const moment = (text) => (text === undefined ? undefined : new Date(text));
  if (options.key) trustKey(readFileSync(options.key));
  if (options.keys) {
    for (const { publicKey, state, notBefore, notAfter } of readJson(options.keys).keys) {
      // What is revoked has another end than its validity: this judge does not go into it.
      if (state !== 'revoked') trustKey(publicKey, { start: moment(notBefore), end: moment(notAfter) });
    }
  }
  const entity = toSignedEntity(bundle);
  const thresholds = { ctlogThreshold: options.sct ? 1 : 0, tlogThreshold: 0, timestampThreshold: 0 };
  const verifier = new Verifier(toTrustMaterial(root, keys), thresholds);
  if (entity.key.$case === 'public-key') {
    verifier.verify(entity);
    return 'by the public key given';
  }
  if (!options.subject || !options.issuer) throw new Error('a keyless bundle needs --subject and --issuer');
  const policy = {
    subjectAlternativeName: `^${options.subject.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`,
    extensions: { issuer: options.issuer },
  };
  if (entity.timestamps.length > 0) {
    verifier.verify(entity, policy);
    return `by ${options.subject}, timestamped`;
  }
  // Verifier.verify() judges a certificate at its timestamps only; without one, the same steps at a given time.
  if (!options.at) throw new Error('a keyless bundle without timestamps needs --at');
  const signer = verifier.verifySigningKey(entity, [new Date(options.at)]);
  verifier.verifySignature(entity, signer);
  verifier.verifyPolicy(policy, signer.identity);
  return `by ${options.subject}, at ${options.at} as given`;
}

const text = { type: 'string' };
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    key: text, keys: text, 'trusted-root': text, subject: text, issuer: text, at: text, sct: { type: 'boolean' },
  },
});
try {
  if (positionals.length !== 1) throw new Error('name one bundle');
  console.log(`VERIFIED by sigstore-js: ${judge(positionals[0], values)}`);
} catch (error) {
  const cause = error.cause ? `: ${error.cause.message}` : '';
  console.log(`NOT VERIFIED by sigstore-js: ${error.code ?? error.name}: ${error.message}${cause}`);
  process.exitCode = 1;
}
