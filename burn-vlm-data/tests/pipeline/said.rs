//! The text of a field.

use burn_vlm_data::pipeline::said;
use serde_json::json;

#[test]
fn texts_and_last_answers() {
    let llava =
        json!([{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}, {"from": "human", "value": "c"}]);
    let chat = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "x"}, {"role": "assistant", "content": "y"}]);
    assert_eq!([said(&llava), said(&chat), said(&json!(" z "))], [Some("b"), Some("y"), Some(" z ")]);
    for nothing in [json!(null), json!(3), json!({}), json!([]), json!(["a"]), json!([{"from": "human", "value": "a"}])]
    {
        assert_eq!(said(&nothing), None, "{nothing}");
    }
    assert_eq!(said(&json!([{"role": "assistant", "content": [{"type": "text"}]}])), None);
}
