// Drawings and the report.
export { drawAttentionMap, type AttentionMapData } from "../pictures/attention-map.js";
export { coloursOf, drawBoxes, type BoxesData, type DrawnBox } from "../pictures/box-drawing.js";
export { colourAt, colourTable, hexOf, inkOn, luminance, type ColourMap, type Rgb } from "../pictures/colour-map.js";
export { drawHeadGallery, type HeadGalleryData } from "../pictures/head-gallery.js";
export { checkLens, drawLogitLens, type LensReading, type LogitLensData } from "../pictures/logit-lens-grid.js";
export { drawMask, type MaskData } from "../pictures/mask-drawing.js";
export { drawOverview, type OverviewData } from "../pictures/overview.js";
export { massBySegment, type SegmentMass } from "../pictures/page/attention-rows.js";
export { NORMALISATIONS, type Normalisation } from "../pictures/page/scale.js";
export { MAX_PNG_SIDE, encodeGreyPng, encodePng, encodeRgbaPng, toPng } from "../pictures/png.js";
export type { ReportData, ReportEdit, ReportLens, ReportStep, ReportToken } from "../pictures/report-data.js";
export { reportRun, type ReportRequest } from "../pictures/report-run.js";
export { renderReport } from "../pictures/report.js";
export type { SeenPicture } from "../pictures/seen-picture.js";
export { drawSegmentations, type SegmentationsData } from "../pictures/segmentation-drawing.js";
export { NAMED_PATCHES, describeSinks } from "../pictures/sinks.js";
