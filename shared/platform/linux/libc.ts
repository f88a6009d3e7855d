/**
 * The only import of koffi: the system calls of the Linux engine as functions of numbers. Addresses are
 * numbers too (`uintptr_t`; user space ends below 2^47), and all of them come from an Arena. A call answers
 * what libc answers, -1 for a failure, whose errno must be asked for at once. Each thread loads its own,
 * because errno lies at another place in each.
 */
import { BridgeError, messageOf } from '../../errors.ts';

/** See the man page of each in section 2; `long` is ssize_t. */
export interface Libc {
  read(fd: number, address: number, length: number): number;
  write(fd: number, address: number, length: number): number;
  writev(fd: number, vectorAddress: number, count: number): number;
  send(fd: number, address: number, length: number, flags: number): number;
  recvmmsg(fd: number, messagesAddress: number, count: number, flags: number, noTimeout: 0): number;
  sendmmsg(fd: number, messagesAddress: number, count: number, flags: number): number;
  close(fd: number): number;
  socket(domain: number, type: number, protocol: number): number;
  socketpair(domain: number, type: number, protocol: number, address: number): number;
  bind(fd: number, address: number, length: number): number;
  listen(fd: number, backlog: number): number;
  connect(fd: number, address: number, length: number): number;
  accept4(fd: number, address: number, lengthAddress: number, flags: number): number;
  getsockname(fd: number, address: number, lengthAddress: number): number;
  getpeername(fd: number, address: number, lengthAddress: number): number;
  getsockopt(fd: number, level: number, name: number, address: number, lengthAddress: number): number;
  setsockopt(fd: number, level: number, name: number, address: number, length: number): number;
  shutdown(fd: number, how: number): number;
  epoll_create1(flags: number): number;
  epoll_ctl(epoll: number, operation: number, fd: number, eventAddress: number): number;
  epoll_wait(epoll: number, address: number, max: number, timeoutMs: number): number;
  eventfd(initial: number, flags: number): number;
  pipe2(address: number, flags: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  splice(from: number, noOffset: 0, to: number, noOffset2: 0, length: number, flags: number): number;
  /** errno of the last call of this thread that failed. */
  errno(): number;
  /** Zeroed memory that stays where it is until the process ends. @throws BridgeError IO when there is none */
  allocate(bytes: number): { readonly address: number; readonly bytes: Buffer };
}

const ADDRESS = 'uintptr_t';
const SIGNATURES: Record<Exclude<keyof Libc, 'errno' | 'allocate'>, readonly [string, readonly string[]]> = {
  read: ['long', ['int', ADDRESS, 'size_t']],
  write: ['long', ['int', ADDRESS, 'size_t']],
  writev: ['long', ['int', ADDRESS, 'int']],
  send: ['long', ['int', ADDRESS, 'size_t', 'int']],
  recvmmsg: ['int', ['int', ADDRESS, 'uint', 'int', ADDRESS]],
  sendmmsg: ['int', ['int', ADDRESS, 'uint', 'int']],
  close: ['int', ['int']],
  socket: ['int', ['int', 'int', 'int']],
  socketpair: ['int', ['int', 'int', 'int', ADDRESS]],
  bind: ['int', ['int', ADDRESS, 'uint32']],
  listen: ['int', ['int', 'int']],
  connect: ['int', ['int', ADDRESS, 'uint32']],
  accept4: ['int', ['int', ADDRESS, ADDRESS, 'int']],
  getsockname: ['int', ['int', ADDRESS, ADDRESS]],
  getpeername: ['int', ['int', ADDRESS, ADDRESS]],
  getsockopt: ['int', ['int', 'int', 'int', ADDRESS, ADDRESS]],
  setsockopt: ['int', ['int', 'int', 'int', ADDRESS, 'uint32']],
  shutdown: ['int', ['int', 'int']],
  epoll_create1: ['int', ['int']],
  epoll_ctl: ['int', ['int', 'int', 'int', ADDRESS]],
  epoll_wait: ['int', ['int', ADDRESS, 'int', 'int']],
  eventfd: ['int', ['uint', 'int']],
  pipe2: ['int', [ADDRESS, 'int']],
  // Variadic in C. On x86-64 and arm64 Linux an int is passed alike either way (AAPCS64, System V psABI).
  fcntl: ['int', ['int', 'int', 'long']],
  splice: ['long', ['int', ADDRESS, 'int', ADDRESS, 'size_t', 'uint']],
};

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;

/** @throws BridgeError UNSUPPORTED where koffi, or this system's libc through it, cannot be used */
export async function loadLibc(): Promise<Libc> {
  if (process.arch !== 'x64' && process.arch !== 'arm64')
    throw new BridgeError('UNSUPPORTED', `it is for x64 and arm64, not ${process.arch}`);
  try {
    const { default: koffi } = await import('koffi');
    const library = koffi.load(null);
    const calls = Object.fromEntries(
      Object.entries(SIGNATURES).map(([name, [result, args]]) => [
        name,
        library.func(name, result, [...args]),
      ]),
    ) as unknown as Libc;
    const errnoLocation = library.func('__errno_location', ADDRESS, []) as unknown as () => number;
    const mmap = library.func('mmap', ADDRESS, [ADDRESS, 'size_t', 'int', 'int', 'int', 'long']);
    const errno = new Int32Array(koffi.view(BigInt(errnoLocation()), 4));
    return Object.assign(calls, {
      errno: () => errno[0]!,
      allocate: (bytes: number) => {
        const address = Number(mmap(0, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0));
        if (!Number.isSafeInteger(address)) throw new BridgeError('IO', `mmap of ${bytes} bytes failed`);
        return { address, bytes: Buffer.from(koffi.view(BigInt(address), bytes)) };
      },
    });
  } catch (error) {
    throw new BridgeError('UNSUPPORTED', `koffi does not load: ${messageOf(error).split('\n')[0]}`, {
      cause: error,
    });
  }
}
