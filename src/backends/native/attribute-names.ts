import type { KernelAddon } from "./kernel-addon.js";
import type { NodeBinding } from "./raw-ops.js";

/** The names of attributes that tfjs-node's kernels and ours give operations. Source: tfjs-node 4.22, dist/. */
const NAMES = (
  "DstT Index N S SrcT T TI T_threshold Taxis Tblock_shape Tcomplex Tcrops Tidx Tindices Tlen Tmultiples Tnumsegments Tout " +
  "Tpaddings Tparams Tperm Truncate Tshape U V W acceptable_fraction activation adj_x adj_y align_corners alpha among axis batch_dims " +
  "begin_mask beta bias block_size channels chroma_downsampling coarse compression container data_format dct_method density_unit " +
  "depth_radius dilations ellipsis_mask end_mask eps epsilon equation exclusive explicit_paddings extrapolation_value fancy_upscaling " +
  "format half_pixel_centers headDim index_type inner is_training keep_dims ksize masked method mode new_axis_mask num num_split " +
  "optimize_size out_idx output_dtype output_type pad_to_max_output_size padding pattern progressive quality queries rates ratio " +
  "replace_global reverse rewrite scale seed shared_name shrink_axis_mask softcap sorted strides transpose_a transpose_b " +
  "try_recover_truncated type use_cudnn_on_gpu validate_indices window x_density xmp_metadata y_density"
).split(" ");

/** No number of a type of attributes. */
const NO_TYPE = 1 << 20;

/**
 * Makes tfjs-node know the name of every attribute before an operation runs in this thread. It keeps them in one set
 * for the whole process, without a lock: with the names in it nothing is added any more while another thread looks one
 * up. Source: tfjs-node 4.22, binding/tfjs_backend.cc, `ATTR_NAME_SET`.
 */
export function knowAttributeNames({ TF_ATTR_INT, executeOp }: NodeBinding, addon: KernelAddon): void {
  // The last has a type that does not exist: it is refused, and so the operation never runs.
  const attributes = NAMES.map((name, i) => ({ name, type: i < NAMES.length - 1 ? TF_ATTR_INT : NO_TYPE, value: 0 }));
  addon.exclusively(() => {
    try {
      executeOp("NoOp", attributes, [], 0);
    } catch {
      // As meant: the names are kept.
    }
  });
}
