import { BridgeError } from '../errors.ts';

/** Every context id of this machine, to listen. All ones is no number of anybody. */
export const VMADDR_CID_ANY = 0xffff_ffff;

/** Whether a number can be the CID, or the port, of somebody: zero and all ones are nobody's. */
export function isVsockNumber(number: number): boolean {
  return Number.isInteger(number) && number >= 1 && number < VMADDR_CID_ANY;
}

/** @throws BridgeError BAD_REQUEST for a CID that nobody can have, naming the URL */
export function checkCid(cid: number, url: string): void {
  if (!isVsockNumber(cid))
    throw new BridgeError('BAD_REQUEST', `"${url}": a CID is a number from 1 to 4294967294`);
}

/** @throws BridgeError BAD_REQUEST for a port that nobody can have, naming the URL */
export function checkVsockPort(port: number, url: string): void {
  if (!isVsockNumber(port))
    throw new BridgeError('BAD_REQUEST', `"${url}": a vsock port is a number from 1 to 4294967294`);
}
