"""What one picture looks like, as the record that the shading kernel reads."""

import warp as wp


@wp.struct
class Look:
    """What one image looks like; colours are linear RGB, directions and points are in the camera's frame."""

    key_direction: wp.vec3
    key: wp.vec3
    fill_direction: wp.vec3
    fill: wp.vec3
    sky: wp.vec3
    ground: wp.vec3
    head_up: wp.vec3
    shadow_across: wp.vec3
    shadow_up: wp.vec3
    shadow_centre: wp.vec3
    focal: float
    exposure: float
    contrast: float
    skin: wp.vec3
    flush: wp.vec3
    lip: wp.vec3
    blush: float
    freckles: float
    blotches: float
    gloss: float
    wrinkles: float
    noise_u: float
    noise_v: float
    stubble: float
    brow: wp.vec3
    brow_thick: float
    brow_length: float
    brow_height: float
    brow_arch: float
    brow_dense: float
    lashes: float
    iris: wp.vec3
    iris_size: float
    pupil: float
    eye_left: wp.vec3
    eye_right: wp.vec3
    gaze_left: wp.vec3
    gaze_right: wp.vec3
    hair: wp.vec3
    hair_gloss: float
    hair_is_skin: int
    hair_streaks: float
    hair_curl: float
    beard: wp.vec3
    cloth: wp.vec3
    cloth_second: wp.vec3
    cloth_stripes: float
    frame: wp.vec3
    furrow: float
    raised: float
    smile: float
    sneer: float
    squint: float
    back_top: wp.vec3
    back_low: wp.vec3
    blob_a: wp.vec4
    blob_a_colour: wp.vec3
    blob_b: wp.vec4
    blob_b_colour: wp.vec3
    grain: float
    grain_scale: float
    grain_u: float
    grain_v: float
