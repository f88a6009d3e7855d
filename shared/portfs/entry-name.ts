import { p9Error } from '../p9/error-text.ts';

/** NAME_MAX of Linux, in bytes. */
const MAX_BYTES = 255;

/** Refuses a name that no directory of a VM could show. Clients choose names freely otherwise. */
export function checkEntryName(name: string): void {
  if (Buffer.byteLength(name) > MAX_BYTES) throw p9Error('File name too long');
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) {
    throw p9Error('Invalid argument');
  }
}
