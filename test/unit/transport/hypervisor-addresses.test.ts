import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAddress, parseDialAddress } from '../../../shared/transport/address.ts';
import { type HybridAddress, hybridListenPath } from '../../../shared/transport/hybrid.ts';
import {
  type HyperkitAddress,
  hyperkitListenPath,
  hyperkitRequest,
} from '../../../shared/transport/hyperkit.ts';
import { parsePipe } from '../../../shared/transport/npipe.ts';
import { parseSerialSocket } from '../../../shared/transport/serial.ts';
import { traitsOf } from '../../../shared/transport/traits.ts';

const NUMBER = fc.integer({ min: 1, max: 4_294_967_294 });
const PATH = fc.stringMatching(/^\/[a-zA-Z0-9._?=-]{1,40}$/);

describe('hybrid://', () => {
  it('has a path, with whatever characters, and a port', () => {
    fc.assert(
      fc.property(PATH, NUMBER, (path, port) => {
        const url = `hybrid://${path}?port=${port}`;
        const address = parseAddress(url) as HybridAddress;
        expect(address).toEqual({ scheme: 'hybrid', path, port, url });
        expect(hybridListenPath(address)).toBe(`${path}_${port}`);
      }),
    );
  });

  it.each([
    ['hybrid:///a', /is not hybrid:/],
    ['hybrid://a?port=1', /is not hybrid:/],
    ['hybrid:///a?port=', /is not hybrid:/],
    ['hybrid:///a?port=0', /vsock port is a number/],
    ['hybrid:///a?port=4294967295', /vsock port is a number/],
    [`hybrid:///${'x'.repeat(104)}?port=1024`, /bytes at the most/],
  ])('refuses %s', (url, why) => {
    expect(() => parseAddress(url)).toThrow(why);
    expect(() => parseAddress(url)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });
});

describe('hyperkit://', () => {
  it('has a directory, a CID and a port, written as HyperKit reads them', () => {
    fc.assert(
      fc.property(PATH, NUMBER, NUMBER, (path, cid, port) => {
        const url = `hyperkit://${path}?cid=${cid}&port=${port}`;
        const address = parseDialAddress(url) as HyperkitAddress;
        expect(address).toEqual({ scheme: 'hyperkit', path, cid, port, url });
        const request = hyperkitRequest(cid, port);
        expect(request).toMatch(/^[0-9a-f]{8}\.[0-9a-f]{8}\n$/);
        expect(request.split('.').map((hex) => Number.parseInt(hex, 16))).toEqual([cid, port]);
        expect(hyperkitListenPath(address)).toBe(`${path}/00000002.${request.slice(9, 17)}`);
      }),
    );
  });

  it('needs no CID to listen, but one to dial', () => {
    expect(parseAddress('hyperkit:///d?port=62373')).toMatchObject({ path: '/d', port: 62_373 });
    expect(() => parseDialAddress('hyperkit:///d?port=62373')).toThrow(/nobody to dial: hyperkit:/);
  });

  it.each([
    'hyperkit:///d',
    'hyperkit://d?port=1',
    'hyperkit:///d?cid=0&port=1',
    'hyperkit:///d?port=1&cid=3',
  ])('refuses %s', (url) => {
    expect(() => parseAddress(url)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });
});

describe('npipe://', () => {
  it('is a named pipe, on Windows only', () => {
    const url = 'npipe:////./pipe/portferry-1';
    expect(parsePipe(url, true)).toEqual({ scheme: 'npipe', path: '\\\\.\\pipe\\portferry-1', url });
    expect(() => parsePipe(url, false)).toThrow(/for Windows only/);
    for (const bad of [
      'npipe:////./pipe/',
      'npipe:////./pipe/a/b',
      'npipe:////./pipe/a\\b',
      'npipe:///pipe/a',
    ])
      expect(() => parsePipe(bad, true)).toThrow(/is not npipe:/);
  });
});

describe('serial+unix://', () => {
  it('may be a named pipe on Windows, and there nothing else', () => {
    const pipe = 'serial+unix:////./pipe/com1';
    expect(parseSerialSocket(pipe, true).path).toBe('//./pipe/com1');
    expect(() => parseSerialSocket('serial+unix:///run/com1', true)).toThrow(/npipe:/);
  });
});

describe('traits', () => {
  it.each([
    ['unix', true],
    ['tcp', true],
    ['vsock', true],
    ['hyperkit', true],
    ['hybrid', false],
    ['npipe', false],
  ])('%s: half-close %s', (scheme, halfClose) => {
    expect(traitsOf({ scheme }, 'host')).toEqual({ manyStreams: true, halfClose, whoDials: 'host' });
  });
});
