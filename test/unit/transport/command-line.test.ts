import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { splitCommandLine } from '../../../shared/transport/command-line.ts';

/** A word, quoted so that every character stands for itself. */
function quote(word: string): string {
  if (word === '') return "''";
  return word.replace(/[^']+|'+/g, (part) => (part.startsWith("'") ? `"${part}"` : `'${part}'`));
}

describe('splitCommandLine', () => {
  it('gives back any words that were quoted', () => {
    const word = fc.string().map((text) => text.replaceAll('\0', ''));
    const blank = fc.constantFrom(' ', '  ', '\t', ' \n');
    fc.assert(
      fc.property(fc.array(word), blank, (words, between) => {
        const text = words.map(quote).join(between);
        expect(splitCommandLine(text)).toEqual(words);
        expect(splitCommandLine(`${between}${text}${between}`)).toEqual(words);
      }),
    );
  });

  it.each([
    ['', []],
    ['ssh vm portferry vm-shim --listen stdio:', ['ssh', 'vm', 'portferry', 'vm-shim', '--listen', 'stdio:']],
    [`a'b c'"d"`, ['ab cd']],
    [`C:\\Windows\\wsl.exe -d "My VM"`, ['C:\\Windows\\wsl.exe', '-d', 'My VM']],
    [`"it's" '"'`, ["it's", '"']],
    ['$HOME *', ['$HOME', '*']],
  ])('%j', (text, words) => {
    expect(splitCommandLine(text)).toEqual(words);
  });

  it.each(["a 'b", 'a "b', `'"`, 'a\0b'])('refuses %j', (text) => {
    expect(() => splitCommandLine(text)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });
});
