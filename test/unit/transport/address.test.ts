import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../../shared/transport/address.ts';

describe('transport URLs', () => {
  it.each([
    ['unix:///run/x.sock', { scheme: 'unix', path: '/run/x.sock' }],
    ['tcp://127.0.0.1:80', { scheme: 'tcp', host: '127.0.0.1', port: 80 }],
    ['tcp://127.1.2.3:0', { scheme: 'tcp', host: '127.1.2.3', port: 0 }],
    ['tcp://[::1]:65535', { scheme: 'tcp', host: '::1', port: 65_535 }],
  ])('%s', (url, expected) => {
    expect(parseAddress(url)).toEqual({ ...expected, url });
  });

  it.each([
    ['vsock://3:1024', /unknown scheme "vsock:".*unix:\/\/\/path and tcp:\/\/127/],
    ['/run/x.sock', /is no URL; known are/],
    ['', /is no URL/],
    ['unix://run/x.sock', /absolute path/],
    ['unix://', /absolute path/],
    [`unix:///${'x'.repeat(200)}`, /bytes at the most/],
    ['tcp://127.0.0.1', /tcp:\/\/IP:PORT/],
    ['tcp://localhost:80', /tcp:\/\/IP:PORT/],
    ['tcp://127.0.0.1:65536', /tcp:\/\/IP:PORT/],
    ['tcp://0.0.0.0:80', /loopback only/],
    ['tcp://[fd00::1]:80', /loopback only/],
  ])('refuses %s', (url, why) => {
    expect(() => parseAddress(url)).toThrow(why);
    expect(() => parseAddress(url)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });
});
