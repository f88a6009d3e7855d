import { BridgeError, type ErrorCode, errnoName } from '../errors.ts';
import { VMADDR_CID_HOST, VMADDR_CID_LOCAL, type VsockAddress } from './address.ts';

/** What an errno of AF_VSOCK means; the kernel has few and uses them widely (net/vmw_vsock). */

/** The module by which this machine reaches a CID, for who has to load it. */
function moduleFor(cid: number): string {
  if (cid === VMADDR_CID_LOCAL) return 'vsock_loopback';
  return cid === VMADDR_CID_HOST
    ? 'vmw_vsock_virtio_transport (in a VM of QEMU or another that has virtio; vmw_vsock_vmci_transport for VMware, hv_sock for Hyper-V)'
    : 'vhost_vsock (on the machine that runs the VM)';
}

const NO_FAMILY = 'this kernel has no AF_VSOCK; load it with "modprobe vsock"';

/** @returns NO_LINK, PERMISSION_DENIED, UNSUPPORTED or, for what is odd, IO; its message has the URL */
export function vsockDialError({ url, cid }: VsockAddress, errno: string, cause?: unknown): BridgeError {
  const where = cid === VMADDR_CID_HOST ? 'on the host' : cid === VMADDR_CID_LOCAL ? 'here' : 'in the VM';
  const reasons: Record<string, readonly [ErrorCode, string]> = {
    ECONNRESET: ['NO_LINK', `nobody listens on that port ${where} (is the other side running?)`],
    ECONNREFUSED: ['NO_LINK', `nobody listens on that port ${where} (is the other side running?)`],
    ENODEV: [
      'NO_LINK',
      `no VM has CID ${cid}, or the module that reaches it is missing: modprobe ${moduleFor(cid)}`,
    ],
    ENETUNREACH: ['NO_LINK', `CID ${cid} cannot be reached from here`],
    EHOSTUNREACH: ['NO_LINK', `no VM has CID ${cid}, or it is not running`],
    ETIMEDOUT: ['NO_LINK', `CID ${cid} did not answer (is the VM running?)`],
    EACCES: ['PERMISSION_DENIED', 'permission denied'],
    EPERM: ['PERMISSION_DENIED', 'permission denied'],
    EAFNOSUPPORT: ['UNSUPPORTED', NO_FAMILY],
    ECONNABORTED: ['NO_LINK', 'the thread of the bridge has ended; another takes its place'],
  };
  const [code, why] = reasons[errno] ?? ['IO', errno];
  return new BridgeError(code, `cannot connect to ${url}: ${why}`, { cause });
}

/** What a failed bind or listen means; the caller names the URL. */
export function vsockListenError({ cid, port }: VsockAddress, errno: string, cause?: unknown): BridgeError {
  const reasons: Record<string, readonly [ErrorCode, string]> = {
    EADDRINUSE: ['PORT_IN_USE', `vsock port ${port} is already taken`],
    EADDRNOTAVAIL: [
      'ADDRESS_NOT_AVAILABLE',
      `CID ${cid} is not this machine's; vsock://:${port} is every CID that it has`,
    ],
    EACCES: ['PERMISSION_DENIED', `vsock ports below 1024 are for root: ${port}`],
    EPERM: ['PERMISSION_DENIED', `permission denied: ${port}`],
    EAFNOSUPPORT: ['UNSUPPORTED', NO_FAMILY],
  };
  const [code, why] = reasons[errno] ?? ['IO', errno];
  return new BridgeError(code, why, { cause });
}

/** As `vsockDialError`, by number. */
export function vsockDialErrno(address: VsockAddress, errno: number): BridgeError {
  return vsockDialError(address, errnoName(errno));
}
