import { BridgeError } from '../errors.ts';
import { formatIp, parseIp } from '../ip.ts';

/** All addresses that begin with the same bits (RFC 4632). */
export interface Cidr {
  readonly family: 4 | 6;
  /** 4 or 16 bytes; those behind the prefix are 0. */
  readonly bytes: Buffer;
  /** Bits that have to be equal. */
  readonly prefix: number;
}

/**
 * Reads `10.0.0.0/8`, `fd00::/8`, or one address.
 * @throws BridgeError BAD_REQUEST when it is neither, or has bits behind its prefix
 */
export function parseCidr(text: string): Cidr {
  const [address = '', bits] = text.split('/');
  const ip = parseIp(address);
  const most = ip?.family === 4 ? 32 : 128;
  const prefix = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : -1;
  if (ip === undefined || ip.zone !== '' || prefix < 0 || prefix > most || text.split('/').length > 2)
    throw new BridgeError(
      'BAD_REQUEST',
      `${JSON.stringify(text)} is neither an address nor a CIDR such as 10.0.0.0/8 or fd00::/8`,
    );
  const bytes = maskBytes(ip.bytes, prefix);
  if (!bytes.equals(ip.bytes)) {
    const meant = `${formatIp({ family: ip.family, bytes, zone: '' })}/${prefix}`;
    throw new BridgeError('BAD_REQUEST', `${text} has bits behind its prefix; write ${meant}`);
  }
  return { family: ip.family, bytes, prefix };
}

/** Whether an address is one of them; its zone does not count, and what is no address is in none. */
export function cidrHas({ family, bytes, prefix }: Cidr, address: string): boolean {
  const ip = parseIp(address);
  return ip?.family === family && maskBytes(ip.bytes, prefix).equals(bytes);
}

function maskBytes(bytes: Buffer, prefix: number): Buffer {
  return Buffer.from(bytes.map((byte, index) => byte & maskOf(prefix - 8 * index)));
}

/** The mask of a byte of which `bits` bits count. */
function maskOf(bits: number): number {
  return bits >= 8 ? 0xff : bits <= 0 ? 0 : (0xff << (8 - bits)) & 0xff;
}
