/** How the path of a unix socket stands in a spec: padded base64 of the standard alphabet (RFC 4648, section 4). */

/**
 * sun_path of Linux holds 108 bytes with the terminating NUL (unix(7)). macOS holds four fewer; the side that opens the
 * socket knows its own system and refuses there.
 */
export const MAX_UNIX_PATH_BYTES = 107;

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function encodePath(path: string): string {
  return Buffer.from(path, 'utf8').toString('base64');
}

/** The path, or what is wrong with it: `is empty`. */
export function decodePath(part: string): string | { readonly problem: string } {
  if (part === '') return { problem: 'is empty' };
  const bytes = Buffer.from(part, 'base64');
  // Decoding is lenient about bits behind the last byte; encoding again shows them, and one path keeps one name.
  if (!BASE64.test(part) || bytes.toString('base64') !== part)
    return { problem: 'is not in padded standard base64' };
  const problem = pathProblem(bytes);
  return problem === undefined ? utf8.decode(bytes) : { problem };
}

function pathProblem(bytes: Buffer): string | undefined {
  if (bytes[0] !== 0x2f) return 'is not absolute';
  if (bytes.includes(0)) return 'holds a NUL byte';
  if (bytes.length > MAX_UNIX_PATH_BYTES)
    return `is ${bytes.length} bytes long, a unix socket takes ${MAX_UNIX_PATH_BYTES}`;
  try {
    utf8.decode(bytes);
  } catch {
    return 'is not UTF-8';
  }
  return undefined;
}
