/** Longest request that is passed on: far above the longest spec, far below what could hurt. */
const MAX_BYTES = 8192;

const utf8 = new TextDecoder('utf-8', { fatal: true });

export type RequestText = { readonly spec: string } | { readonly wrong: string };

/**
 * Makes a spec of what was written to ctl. Shells add a newline and C programs a final NUL, so blanks and NULs around it
 * do not count.
 */
export function parseRequest(data: Uint8Array): RequestText {
  if (data.length > MAX_BYTES) return { wrong: `the request is longer than ${MAX_BYTES} bytes` };
  let text: string;
  try {
    text = utf8.decode(data);
  } catch {
    return { wrong: 'the request is not valid UTF-8' };
  }
  const spec = trimBlanksAndNuls(text);
  return spec === '' ? { wrong: 'the request is empty. Please read the README.' } : { spec };
}

function trimBlanksAndNuls(text: string): string {
  const counts = (character: string | undefined) => character !== undefined && /[^\s\0]/.test(character);
  let start = 0;
  let end = text.length;
  while (start < end && !counts(text[start])) start++;
  while (end > start && !counts(text[end - 1])) end--;
  return text.slice(start, end);
}

/** One line for a client that reads once, and often no more than 100 bytes. */
export function answerLine(word: 'OK' | 'ERROR', text: string): string {
  return `${word} ${text.replace(/\s*[\r\n]+\s*/g, ' ').trim()}\n`;
}
