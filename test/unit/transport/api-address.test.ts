import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { apiClientPath, parseApiAddress } from '../../../shared/transport/api-address.ts';

const PIPE = { scheme: 'npipe', path: '\\\\.\\pipe\\portferry', url: 'npipe:////./pipe/portferry' };

describe('the address of the API', () => {
  it('is the path of a unix socket', () => {
    expect(parseApiAddress('/run/api', false)).toEqual({
      scheme: 'unix',
      path: '/run/api',
      url: 'unix:///run/api',
    });
    expect(parseApiAddress('api', false).path).toBe(resolve('api'));
    // A file may be called so.
    expect(parseApiAddress('\\\\.\\pipe\\portferry', false).scheme).toBe('unix');
  });

  it.each([
    'npipe:////./pipe/portferry',
    '\\\\.\\pipe\\portferry',
    '\\\\?\\pipe\\portferry',
    '\\\\.\\PIPE\\portferry',
    '//./pipe/portferry',
  ])('on Windows is a named pipe: %s', (text) => {
    expect(parseApiAddress(text, true)).toEqual(PIPE);
    expect(apiClientPath(text, true)).toBe(PIPE.path);
  });

  it.each([
    ['C:\\Users\\me\\api.sock', true, /on Windows Node has no unix sockets.*npipe:/],
    ['/tmp/api.sock', true, /on Windows Node has no unix sockets/],
    ['\\\\.\\pipe\\a\\b', true, /on Windows Node has no unix sockets/],
    ['npipe:////./pipe/', true, /is not npipe:/],
    ['npipe:////./pipe/portferry', false, /for Windows only/],
  ])('refuses %s, on Windows: %s', (text, windows, why) => {
    for (const parse of [parseApiAddress, apiClientPath]) {
      expect(() => parse(text, windows)).toThrow(why);
      expect(() => parse(text, windows)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
    }
  });

  it('of a client stands as it was given, since a short name may reach what a long one does not', () => {
    for (const path of ['api', `/${'x'.repeat(200)}`]) expect(apiClientPath(path, false)).toBe(path);
  });
});
