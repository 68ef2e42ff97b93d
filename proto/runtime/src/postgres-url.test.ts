import { expect, it } from 'vitest';
import { postgresUrl } from './postgres-url.ts';

it.each([
  'postgres://me:secret@db:5432/shop',
  'postgresql:///shop?host=/run',
  'postgres://db/shop?sslmode=verify-full',
])('takes %s', (found) => expect(postgresUrl(found)).toBe(found));

it.each([
  ['mysql://db/shop', 'expected postgres://'],
  ['db:5432', 'expected postgres://'],
  [
    'postgres://db/shop?sslmode=disabled',
    'expected disable, prefer, require, verify-ca, verify-full, no-verify for sslmode',
  ],
  ['postgres://db/shop?sslmode=verify-full&sslrootcert=/nowhere.pem', 'in sslrootcert'],
])('refuses %s', (found, problem) => expect(() => postgresUrl(found)).toThrow(problem));
