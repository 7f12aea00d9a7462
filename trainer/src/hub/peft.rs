//! Which of the methods that `adapter_config.json` can mean are LoRA as it is merged here.

use serde_json::{Map, Value};

/// Keys of `adapter_config.json` that make it another method than LoRA when they are set.
const OTHER_METHODS: [&str; 13] = [
    "use_dora",
    "fan_in_fan_out",
    "lora_bias",
    "use_qalora",
    "use_bdlora",
    "alora_invocation_tokens",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "ensure_weight_tying",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
];
/// Keys that change nothing of a merge, or are looked at elsewhere.
const KNOWN_KEYS: [&str; 26] = [
    "task_type",
    "peft_type",
    "auto_mapping",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "r",
    "target_modules",
    "exclude_modules",
    "lora_alpha",
    "lora_dropout",
    "bias",
    "use_rslora",
    "modules_to_save",
    "init_lora_weights",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "megatron_config",
    "megatron_core",
    "eva_config",
    "qalora_group_size",
    "runtime_config",
    "ephemeral_gpu_offload",
];
/// Settings of ways to begin, of no effect without `init_lora_weights`.
const BEGINNING_SETTINGS: [&str; 4] =
    ["loftq_config", "corda_config", "lora_ga_config", "velora_config"];
/// Ways to begin an adapter that leave its base as it is; others, such as PiSSA's, take from the
/// base what they put into the adapter.
const PLAIN_BEGINNINGS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// Refuses an adapter of which merging `B A` would make another model than PEFT does.
///
/// # Errors
/// The key at fault, and what to do instead.
pub(super) fn check_method(keys: &Map<String, Value>) -> Result<(), String> {
    let is_set = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    let advice = "merge it with PEFT's merge_and_unload and import the result";
    let mut set = OTHER_METHODS.iter().filter(|key| keys.get(**key).is_some_and(is_set));
    if let Some(key) = set.next() {
        return Err(format!("{key} is set, which is not done here; {advice}"));
    }
    let is_new = |(key, value): &(&String, &Value)| {
        let known = KNOWN_KEYS.iter().chain(&OTHER_METHODS).chain(&BEGINNING_SETTINGS);
        is_set(value) && !known.into_iter().any(|known| known == key)
    };
    if let Some((key, value)) = keys.iter().find(is_new) {
        return Err(format!("{key} is {value}, which is not known here; {advice}"));
    }
    match keys.get("bias") {
        None | Some(Value::Null) => {}
        Some(bias) if bias == "none" => {}
        Some(bias) => return Err(format!("bias is {bias}, expected \"none\"; {advice}")),
    }
    match keys.get("init_lora_weights") {
        None | Some(Value::Null | Value::Bool(_)) => Ok(()),
        Some(Value::String(way)) if PLAIN_BEGINNINGS.contains(&way.as_str()) => Ok(()),
        Some(way) => Err(format!(
            "init_lora_weights is {way}, which changed the base's weights too; save the adapter with \
             path_initial_model_for_weight_conversion, or {advice}"
        )),
    }
}
