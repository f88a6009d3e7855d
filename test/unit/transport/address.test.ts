import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAddress, parseDialAddress } from '../../../shared/transport/address.ts';
import { VMADDR_CID_ANY } from '../../../shared/transport/vsock-number.ts';

describe('transport URLs', () => {
  it.each([
    ['unix:///run/x.sock', { scheme: 'unix', path: '/run/x.sock' }],
    ['tcp://127.0.0.1:80', { scheme: 'tcp', host: '127.0.0.1', port: 80 }],
    ['tcp://127.1.2.3:0', { scheme: 'tcp', host: '127.1.2.3', port: 0 }],
    ['vsock://2:1024', { scheme: 'vsock', cid: 2, port: 1_024 }],
    ['vsock://host:1024', { scheme: 'vsock', cid: 2, port: 1_024 }],
    ['vsock://local:1', { scheme: 'vsock', cid: 1, port: 1 }],
    ['vsock://:1024', { scheme: 'vsock', cid: 0xffff_ffff, port: 1_024 }],
    ['vsock://4294967294:4294967294', { scheme: 'vsock', cid: 4_294_967_294, port: 4_294_967_294 }],
    ['tcp://[::1]:65535', { scheme: 'tcp', host: '::1', port: 65_535 }],
  ])('%s', (url, expected) => {
    expect(parseAddress(url)).toEqual({ ...expected, url });
  });

  it.each([
    ['hyperv://3:1024', /unknown scheme "hyperv:".*unix:\/\/\/path, tcp:\/\/127.*vsock:\/\/CID:PORT/],
    ['vsock://3', /is not vsock:\/\/CID:PORT/],
    ['vsock:3:1024', /is not vsock/],
    ['vsock://3:', /is not vsock/],
    ['vsock://guest:1', /is not vsock/],
    ['vsock://-1:1', /is not vsock/],
    ['vsock://3:0x10', /is not vsock/],
    ['vsock://3:1/x', /is not vsock/],
    ['vsock://0:1', /a CID is a number from 1/],
    ['vsock://4294967295:1', /a CID is a number from 1/],
    ['vsock://9999999999:1', /a CID is a number from 1/],
    ['vsock://3:0', /vsock port is a number from 1/],
    ['vsock://:4294967295', /vsock port is a number from 1/],
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

  it.each(['unix:///run/x.sock', 'hybrid:///run/x.sock?port=1', 'hyperkit:///d?cid=3&port=1'])(
    'on Windows refuses %s, and names what there is',
    (url) => {
      expect(() => parseAddress(url, true)).toThrow(
        expect.objectContaining({
          code: 'BAD_REQUEST',
          message: expect.stringContaining('npipe:////./pipe/NAME'),
        }),
      );
    },
  );

  it('says who is to be dialled', () => {
    expect(parseDialAddress('vsock://3:1024')).toMatchObject({ cid: 3 });
    expect(parseDialAddress('unix:///a')).toMatchObject({ path: '/a' });
    expect(() => parseDialAddress('tcp://127.0.0.1:0')).toThrow(/has no port to dial/);
    expect(() => parseDialAddress('vsock://:1024')).toThrow(/says nobody to dial: vsock:\/\/CID:PORT/);
  });

  it('vsock: every number of 32 bits that somebody can have, and no other', () => {
    const number = fc.oneof(fc.nat(), fc.bigInt(0n, 20_000_000_000n).map(Number));
    const usable = (n: number) => n >= 1 && n < VMADDR_CID_ANY;
    fc.assert(
      fc.property(number, number, (cid, port) => {
        const url = `vsock://${cid}:${port}`;
        if (usable(cid) && usable(port))
          expect(parseAddress(url)).toEqual({ scheme: 'vsock', cid, port, url });
        else expect(() => parseAddress(url)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
      }),
    );
  });

  it('answers any text with an address or BAD_REQUEST', () => {
    const urls = fc.oneof(
      fc.string(),
      fc.string().map((rest) => `vsock://${rest}`),
    );
    fc.assert(
      fc.property(urls, (url) => {
        try {
          expect(parseAddress(url).url).toBe(url);
        } catch (error) {
          expect(error).toMatchObject({ code: 'BAD_REQUEST', message: expect.stringContaining(url) });
        }
      }),
    );
  });
});
