import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Namespace } from '../core/namespace.ts';
import { FieldError, textOf } from './fields.ts';

/** The digest by which variants of a key are told apart: 128 bits of SHA-256. */
export function variantDigest(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 22);
}

/**
 * The address of a key's value for this request (SPEC I20); the key itself where values do not differ. Throws {@link FieldError} for a
 * request that does not say for whom it asks, or not in UTF-8.
 */
export function addressFor(namespace: Namespace, key: string, request: IncomingMessage): string {
  const { variants } = namespace;
  if (variants === undefined) return key;
  const address = variants.addressOf(key, (name) => {
    const fields = request.headersDistinct[name];
    return fields && textOf(name, fields.join(', '));
  });
  if (typeof address === 'string') return address;
  throw new FieldError(
    `${address.missing}: expected this header, because values of namespace "${namespace.name}" differ by it from one caller to another`,
  );
}

/** Tells caches on the way by what this namespace's answers differ. To be called before the answer begins. */
export function setVary({ variants }: Namespace, response: ServerResponse): void {
  if (variants !== undefined) response.setHeader('Vary', variants.names.join(', '));
}

/** A value that is said to differ by more than its namespace knows must not be stored. Throws {@link FieldError}. */
export function checkVary({ name, variants }: Namespace, request: IncomingMessage): void {
  for (const field of request.headersDistinct['vary'] ?? []) {
    for (const each of field.split(',').map((part) => part.trim().toLowerCase())) {
      if (each === '' || variants?.names.includes(each) === true) continue;
      const known = variants === undefined ? 'none' : variants.names.join(', ');
      throw new FieldError(
        `Vary: found ${each}, expected one of those of namespace "${name}" (vary in its configuration): ${known}`,
      );
    }
  }
}
