import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../../shared/errors.ts';
import { parseAddress, type VsockAddress } from '../../../shared/transport/address.ts';
import { vsockDialErrno, vsockListenError } from '../../../shared/transport/vsock-error.ts';

const at = (url: string) => parseAddress(url) as VsockAddress;

describe('errors of AF_VSOCK', () => {
  it.each([
    ['vsock://3:9', 'ECONNRESET', 'NO_LINK', /nobody listens on that port in the VM \(is the other side/],
    ['vsock://host:9', 'ECONNRESET', 'NO_LINK', /nobody listens on that port on the host/],
    ['vsock://local:9', 'ECONNRESET', 'NO_LINK', /nobody listens on that port here/],
    ['vsock://3:9', 'ENODEV', 'NO_LINK', /no VM has CID 3, .* modprobe vhost_vsock/],
    ['vsock://2:9', 'ENODEV', 'NO_LINK', /module .* missing: modprobe vmw_vsock_virtio_transport/],
    ['vsock://1:9', 'ENODEV', 'NO_LINK', /modprobe vsock_loopback/],
    ['vsock://3:9', 'ETIMEDOUT', 'NO_LINK', /did not answer \(is the VM running/],
    ['vsock://3:9', 'EAFNOSUPPORT', 'UNSUPPORTED', /no AF_VSOCK; .*modprobe vsock/],
    ['vsock://3:9', 'EACCES', 'PERMISSION_DENIED', /permission denied/],
    ['vsock://3:9', 'EINVAL', 'IO', /EINVAL/],
  ] as const)('dialling %s: %s', (url, errno, code, why) => {
    const error = vsockDialErrno(at(url), ERRNO[errno]);
    expect(error).toMatchObject({ code, message: expect.stringMatching(why) });
    expect(error.message).toContain(`cannot connect to ${url}: `);
  });

  it.each([
    ['EADDRINUSE', 'PORT_IN_USE', /vsock port 9 is already taken/],
    ['EADDRNOTAVAIL', 'ADDRESS_NOT_AVAILABLE', /CID 3 is not this machine's; vsock:\/\/:9 is/],
    ['EACCES', 'PERMISSION_DENIED', /below 1024 are for root/],
    ['EAFNOSUPPORT', 'UNSUPPORTED', /no AF_VSOCK/],
    ['ENOMEM', 'IO', /ENOMEM/],
  ] as const)('listening: %s', (errno, code, why) => {
    expect(vsockListenError(at('vsock://3:9'), errno)).toMatchObject({
      code,
      message: expect.stringMatching(why),
    });
  });
});
