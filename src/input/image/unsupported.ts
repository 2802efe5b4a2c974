/**
 * A picture that is not damaged but of a kind that is not read; the message, without the file's name, says which and
 * what to do.
 */
export class UnsupportedPicture extends Error {}
