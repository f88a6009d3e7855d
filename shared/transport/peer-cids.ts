import { BridgeError } from '../errors.ts';
import { VMADDR_CID_HOST } from './address.ts';
import { isVsockNumber } from './vsock-number.ts';

/** Which machines may connect over AF_VSOCK: those listed, or without a list all from `least` on. */
export interface PeerCids {
  readonly list: readonly number[] | undefined;
  readonly least: number;
}

/** What the shim awaits: the machine that runs its VM, and not every process of the VM itself (CID 1). */
export const HOST_ONLY: PeerCids = { list: [VMADDR_CID_HOST], least: 0 };
/** What the host agent awaits: VMs, whose CIDs begin at 3, and not every process of the host. */
export const GUESTS_ONLY: PeerCids = { list: undefined, least: 3 };
const ANYBODY: PeerCids = { list: undefined, least: 0 };

const MAX_LISTED = 64;

/** Parses `CID[,CID...]` or `any`. @throws BridgeError BAD_REQUEST */
export function parsePeerCids(text: string): PeerCids {
  if (text === 'any') return ANYBODY;
  const list = text.split(',').map((each) => (/^\d{1,10}$/.test(each) ? Number(each) : 0));
  if (list.length > MAX_LISTED || !list.every(isVsockNumber))
    throw new BridgeError(
      'BAD_REQUEST',
      `"${text}" is neither "any" nor a list of up to ${MAX_LISTED} CIDs such as 3,4 (each from 1 to 4294967294)`,
    );
  return { list, least: 0 };
}

export function admits({ list, least }: PeerCids, cid: number): boolean {
  return list === undefined ? cid >= least : list.includes(cid);
}

/** For people. */
export function describePeerCids({ list, least }: PeerCids): string {
  if (list !== undefined) return `only CID ${list.join(', ')}`;
  return least === 0 ? 'every CID' : `only CIDs from ${least} on, those of VMs,`;
}
