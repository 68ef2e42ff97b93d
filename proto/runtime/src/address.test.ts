import { expect, it } from 'vitest';
import { formatAddress, parseListenAddress } from './address.ts';

it.each([
  ['127.0.0.1:7070', '127.0.0.1', 7070],
  ['[::1]:0', '::1', 0],
  ['localhost:80', 'localhost', 80],
  [':7070', '0.0.0.0', 7070],
])('reads %s', (found, host, port) => {
  expect(parseListenAddress(found)).toEqual({ host, port });
});

it.each(['', '7070', 'a:b', 'a:65536', '::1:80', '[::1]', 'a:-1', 'a: 1'])('refuses "%s"', (found) => {
  expect(() => parseListenAddress(found)).toThrow('expected HOST:PORT');
});

it('prints addresses as they stand in URLs', () => {
  expect(formatAddress({ host: '127.0.0.1', port: 1 })).toBe('127.0.0.1:1');
  expect(formatAddress({ host: '::1', port: 1 })).toBe('[::1]:1');
  expect(formatAddress({ path: '/run/t.sock' })).toBe('/run/t.sock');
});
