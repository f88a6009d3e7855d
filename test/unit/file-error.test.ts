import { expect, it } from 'vitest';
import { fileError } from '../../shared/file-error.ts';

it.each([
  ['ENOENT', 'NOT_FOUND', 'there is no such file or directory'],
  ['ENOTDIR', 'NOT_FOUND', 'there is no such file or directory'],
  ['EACCES', 'PERMISSION_DENIED', 'permission denied'],
  ['EPERM', 'PERMISSION_DENIED', 'permission denied'],
  ['EROFS', 'PERMISSION_DENIED', 'permission denied'],
  ['EISDIR', 'IO', 'it is a directory'],
  ['EMFILE', 'IO', 'EMFILE: of the system'],
])('%s of a file is %s', (errno, code, why) => {
  const error = Object.assign(new Error(`${errno}: of the system`), { code: errno });
  const message = `cannot read /x: ${why}`;
  expect(fileError(error, 'cannot read /x')).toMatchObject({ code, message, cause: error });
});
