/**
 * Keeps a port reserved without answering at it: a classic BPF program on its socket drops every segment and datagram
 * (socket(7), SO_ATTACH_FILTER; linux/filter.h). It is attached before bind, so nobody has ever connected or sent to a
 * port whose request is then refused; a client that tries repeats its SYN a second later. Accepted sockets inherit a
 * listener's filter, but none is accepted while there is one.
 *
 * Some kernels (6.18 was seen to) let only who has CAP_NET_ADMIN attach one to a TCP socket. Without it a client that comes
 * before all ports of its request are bound waits in the backlog, and is reset when that request is refused.
 */
import { ERRNO } from '../../errors.ts';
import type { Arena, Piece } from './arena.ts';
import { SO_ATTACH_FILTER, SO_DETACH_FILTER, SOL_SOCKET } from './constants.ts';
import { systemError } from './errno.ts';
import type { Libc } from './libc.ts';

/** `BPF_RET | BPF_K`: how many bytes of what came are kept; none is to drop it. */
const BPF_RET_K = 0x06;
const INSTRUCTION_BYTES = 8;
/** `struct sock_fprog`: length u16, then, where a pointer may be, the pointer. */
export const PROGRAM = { bytes: 16, length: 0, instructions: 8 } as const;

export class ReservationFilter {
  private readonly libc: Libc;
  private readonly program: Piece;

  constructor(libc: Libc, arena: Arena) {
    this.libc = libc;
    const instruction = arena.carve(INSTRUCTION_BYTES); // u16 code, u8 jt, u8 jf, u32 k
    instruction.bytes.writeUInt16LE(BPF_RET_K, 0);
    this.program = arena.carve(PROGRAM.bytes);
    this.program.bytes.writeUInt16LE(1, PROGRAM.length);
    this.program.bytes.writeBigUInt64LE(BigInt(instruction.address), PROGRAM.instructions);
  }

  /**
   * From now on the kernel drops what comes, if it lets us have that.
   * @param name of the port, for errors
   * @throws BridgeError as systemError
   */
  attach(fd: number, name: string): void {
    const { address, bytes } = this.program;
    if (this.libc.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, address, bytes.length) === 0) return;
    const errno = this.libc.errno();
    if (errno !== ERRNO.EPERM) throw systemError('setsockopt (SO_ATTACH_FILTER)', name, errno);
  }

  /** From now on the port answers. */
  detach(fd: number): void {
    this.libc.setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, this.program.address, 4); // the value is ignored
  }
}
