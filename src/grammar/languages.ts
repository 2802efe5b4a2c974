import { InputError } from "../base/errors.js";
import { described } from "../base/options.js";

/**
 * Language codes that captions and questions were trained with.
 * Source: COCO-35L (google-research/big_vision, configs/proj/paligemma), with Quechua of XM3600.
 */
export const LANGUAGES =
  "ar bn cs da de el en es fa fi fil fr he hi hr hu id it ja ko mi nl no pl pt quz ro ru sv sw te th tr uk vi zh".split(
    " ",
  );

/** The code itself. Throws `InputError` with the list for one that no checkpoint was trained with. */
export function checkLanguage(code: string): string {
  if (LANGUAGES.includes(code)) return code;
  throw new InputError(`language: expected one of ${LANGUAGES.join(", ")}, received ${described(code)}`);
}
