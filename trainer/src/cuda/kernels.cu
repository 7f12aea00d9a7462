// The kernels of training on a device. They are compiled when a device is opened (driver.rs); tests
// compile them for the processor and compare what they compute.
//
// Values are bf16, sums f32. Rows are contiguous unless a stride is named. No sum depends on the
// order in which blocks run: the same input gives the same bits.

typedef unsigned short bf16;
typedef unsigned int u32;
typedef unsigned long long u64;

// ---------------------------------------------------------------- values

static __device__ float from_bits(u32 bits)
{
    union { u32 bits; float value; } both;
    both.bits = bits;
    return both.value;
}

static __device__ u32 to_bits(float value)
{
    union { u32 bits; float value; } both;
    both.value = value;
    return both.bits;
}

static __device__ float wide(bf16 value) { return from_bits((u32)value << 16); }

// Rounds to nearest, ties to even; what is no number stays none.
static __device__ bf16 narrow(float value)
{
    u32 bits = to_bits(value);
    if (value != value) return (bf16)((bits >> 16) | 0x40);
    return (bf16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Two neighbours in one word, the first in the lower half.
static __device__ u32 pair(float first, float second)
{
    return (u32)narrow(first) | (u32)narrow(second) << 16;
}

static __device__ float first_of(u32 pair) { return from_bits(pair << 16); }
static __device__ float second_of(u32 pair) { return from_bits(pair & 0xffff0000u); }

static __device__ const u32 *pairs(const bf16 *values) { return (const u32 *)values; }
static __device__ u32 *pairs(bf16 *values) { return (u32 *)values; }

static __device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

#define NOTHING from_bits(0xff800000u) // minus infinity

// ---------------------------------------------------------------- over a block

struct Sum {
    static __device__ float of(float a, float b) { return a + b; }
};
struct Most {
    static __device__ float of(float a, float b) { return b > a ? b : a; }
};
struct Least {
    static __device__ u32 of(u32 a, u32 b) { return b < a ? b : a; }
};

// Gives every thread of a warp the same.
template <class JOIN, class T> static __device__ T over_warp(T value)
{
    for (u32 step = 16; step > 0; step /= 2)
        value = JOIN::of(value, __shfl_xor_sync(0xffffffffu, value, step));
    return value;
}

// Gives every thread of a block of at most 1,024 the same.
template <class JOIN, class T> static __device__ T over_block(T value)
{
    __shared__ T parts[32];
    value = over_warp<JOIN>(value);
    // What was here before has been read.
    __syncthreads();
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    T all = parts[0];
    for (u32 warp = 1; warp < blockDim.x / 32; warp++) all = JOIN::of(all, parts[warp]);
    return all;
}

// ---------------------------------------------------------------- rows

// A block a row: out[r] = in[rows[r]].
extern "C" __global__ void gather(bf16 *out, const bf16 *in, const u32 *rows, u32 width)
{
    u64 to = (u64)blockIdx.x * width, from = (u64)rows[blockIdx.x] * width;
    for (u32 i = threadIdx.x; i < width / 2; i += blockDim.x)
        pairs(out + to)[i] = pairs(in + from)[i];
}

// A block a row: out[rows[r]] = in[r].
extern "C" __global__ void scatter(bf16 *out, const bf16 *in, const u32 *rows, u32 width)
{
    u64 to = (u64)rows[blockIdx.x] * width, from = (u64)blockIdx.x * width;
    for (u32 i = threadIdx.x; i < width / 2; i += blockDim.x)
        pairs(out + to)[i] = pairs(in + from)[i];
}

// Where row `row` begins when each stride holds `heads` rows.
static __device__ u64 row_start(u32 row, u32 width, u32 heads, u32 stride)
{
    return (u64)(row / heads) * stride + (u64)(row % heads) * width;
}

// A block a row: out = in / rms(in) * gain.
extern "C" __global__ void rms_norm(bf16 *out, float *inverse, const bf16 *in, const bf16 *gain,
                                    u32 width, u32 heads, u32 stride, float epsilon)
{
    u64 start = row_start(blockIdx.x, width, heads, stride);
    const u32 *from = pairs(in + start);
    float squares = 0.0f;
    for (u32 i = threadIdx.x; i < width / 2; i += blockDim.x) {
        float a = first_of(from[i]), b = second_of(from[i]);
        squares += a * a + b * b;
    }
    float factor = 1.0f / sqrtf(over_block<Sum>(squares) / width + epsilon);
    if (threadIdx.x == 0) inverse[blockIdx.x] = factor;
    for (u32 i = threadIdx.x; i < width / 2; i += blockDim.x) {
        u32 value = from[i], scale = pairs(gain)[i];
        pairs(out + start)[i] = pair(first_of(value) * factor * first_of(scale),
                                     second_of(value) * factor * second_of(scale));
    }
}

// A block a row: d_in = [d_in +] inverse (d_out gain - in mean(d_out gain in) inverse^2).
extern "C" __global__ void rms_norm_backward(bf16 *d_in, const bf16 *d_out, const bf16 *in,
                                             const bf16 *gain, const float *inverse, u32 width,
                                             u32 heads, u32 stride, u32 accumulate)
{
    u64 start = row_start(blockIdx.x, width, heads, stride);
    const u32 *d = pairs(d_out + start), *x = pairs(in + start), *g = pairs(gain);
    float dots = 0.0f;
    for (u32 i = threadIdx.x; i < width / 2; i += blockDim.x)
        dots += first_of(d[i]) * first_of(g[i]) * first_of(x[i])
              + second_of(d[i]) * second_of(g[i]) * second_of(x[i]);
    float factor = inverse[blockIdx.x];
    float along = over_block<Sum>(dots) * factor * factor / width;
    u32 *out = pairs(d_in + start);
    for (u32 i = threadIdx.x; i < width / 2; i += blockDim.x) {
        float a = factor * (first_of(d[i]) * first_of(g[i]) - first_of(x[i]) * along);
        float b = factor * (second_of(d[i]) * second_of(g[i]) - second_of(x[i]) * along);
        if (accumulate) {
            a += first_of(out[i]);
            b += second_of(out[i]);
        }
        out[i] = pair(a, b);
    }
}

// A block of 256 threads sums 32 columns: eight threads a column, each every eighth row.
static __device__ void add_columns(float *sums, float sum, u32 column, u32 width)
{
    __shared__ float parts[256];
    parts[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x < 32 && column < width) {
        for (u32 lane = 1; lane < 8; lane++) sum += parts[lane * 32 + threadIdx.x];
        sums[column] += sum;
    }
}

// gradient += sum over rows of d_out in inverse.
extern "C" __global__ void gain_gradient(float *gradient, const bf16 *d_out, const bf16 *in,
                                         const float *inverse, u32 rows, u32 width, u32 heads,
                                         u32 stride)
{
    u32 column = blockIdx.x * 32 + threadIdx.x % 32;
    float sum = 0.0f;
    if (column < width)
        for (u32 row = threadIdx.x / 32; row < rows; row += 8) {
            u64 at = row_start(row, width, heads, stride) + column;
            sum += wide(d_out[at]) * wide(in[at]) * inverse[row];
        }
    add_columns(gradient, sum, column, width);
}

// sums += sum over rows.
extern "C" __global__ void column_sums(float *sums, const bf16 *rows, u32 count, u32 width)
{
    u32 column = blockIdx.x * 32 + threadIdx.x % 32;
    float sum = 0.0f;
    if (column < width)
        for (u32 row = threadIdx.x / 32; row < count; row += 8)
            sum += wide(rows[(u64)row * width + column]);
    add_columns(sums, sum, column, width);
}

// A block a row.
extern "C" __global__ void add_bias(bf16 *rows, const bf16 *bias, u32 width)
{
    u32 *row = pairs(rows + (u64)blockIdx.x * width);
    for (u32 i = threadIdx.x; i < width / 2; i += blockDim.x) {
        u32 more = pairs(bias)[i];
        row[i] = pair(first_of(row[i]) + first_of(more), second_of(row[i]) + second_of(more));
    }
}

// A block a token: turns the first `heads` heads, each 2 `half` wide, by the token's place in its
// sequence.
extern "C" __global__ void rotate(bf16 *rows, const u32 *starts, const float *cosine,
                                  const float *sine, u32 stride, u32 heads, u32 half, float sign)
{
    bf16 *row = rows + (u64)blockIdx.x * stride;
    u64 position = (u64)(blockIdx.x - starts[blockIdx.x]) * half;
    for (u32 i = threadIdx.x; i < heads * half; i += blockDim.x) {
        u32 turn = i % half;
        bf16 *low = row + i / half * 2 * half + turn, *high = low + half;
        float x = wide(*low), y = wide(*high);
        float c = cosine[position + turn], s = sine[position + turn] * sign;
        *low = narrow(x * c - y * s);
        *high = narrow(x * s + y * c);
    }
}

// A block a token: out = silu(gate) up; a row of gate_up is the gate followed by the up part.
extern "C" __global__ void swiglu(bf16 *out, const bf16 *gate_up, u32 inner)
{
    const bf16 *row = gate_up + (u64)blockIdx.x * 2 * inner;
    bf16 *to = out + (u64)blockIdx.x * inner;
    for (u32 i = threadIdx.x; i < inner; i += blockDim.x) {
        float gate = wide(row[i]);
        to[i] = narrow(gate * sigmoid(gate) * wide(row[inner + i]));
    }
}

// A block a token: gate_up becomes its derivative.
extern "C" __global__ void swiglu_backward(bf16 *gate_up, const bf16 *d_out, u32 inner)
{
    bf16 *row = gate_up + (u64)blockIdx.x * 2 * inner;
    const bf16 *from = d_out + (u64)blockIdx.x * inner;
    for (u32 i = threadIdx.x; i < inner; i += blockDim.x) {
        float gate = wide(row[i]), up = wide(row[inner + i]), d = wide(from[i]);
        float half = sigmoid(gate), silu = gate * half;
        row[i] = narrow(d * up * (half + silu * (1.0f - half)));
        row[inner + i] = narrow(d * silu);
    }
}

// A block an id that occurs: runs holds the id, where its tokens begin in `order`, how many.
extern "C" __global__ void embedding_gradient(float *gradient, const bf16 *d_rows, const u32 *order,
                                              const u32 *runs, u32 width)
{
    const u32 *run = runs + 3 * blockIdx.x;
    float *to = gradient + (u64)run[0] * width;
    const u32 *tokens = order + run[1];
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        float sum = 0.0f;
        for (u32 k = 0; k < run[2]; k++) sum += wide(d_rows[(u64)tokens[k] * width + i]);
        to[i] += sum;
    }
}

// A block a row: loss and most probable token; with a scale, the derivative times it.
extern "C" __global__ void cross_entropy(bf16 *d_logits, float *losses, u32 *predicted,
                                         const float *logits, const u32 *targets,
                                         const u32 *soft_tokens, const float *soft_shares,
                                         u32 soft_count, u32 vocabulary, float scale)
{
    const float *row = logits + (u64)blockIdx.x * vocabulary;
    // Tokens with a share of the loss; the target has the rest.
    u32 target = targets[blockIdx.x];
    soft_tokens += (u64)blockIdx.x * soft_count;
    soft_shares += (u64)blockIdx.x * soft_count;
    float rest = 1.0f;
    for (u32 i = 0; i < soft_count; i++) rest -= soft_shares[i];
    // The largest so far, and the sum of e^(logit - largest).
    float most = NOTHING, sum = 0.0f;
    u32 best = 0xffffffffu;
    for (u32 i = threadIdx.x; i < vocabulary; i += blockDim.x) {
        float logit = row[i];
        if (logit > most) {
            sum = sum * expf(most - logit) + 1.0f;
            most = logit;
            best = i;
        } else {
            sum += expf(logit - most);
        }
    }
    float all = over_block<Most>(most);
    best = over_block<Least>(most == all ? best : 0xffffffffu);
    sum = over_block<Sum>(sum == 0.0f ? 0.0f : sum * expf(most - all));
    if (threadIdx.x == 0) {
        float right = rest * row[target];
        for (u32 i = 0; i < soft_count; i++) right += soft_shares[i] * row[soft_tokens[i]];
        losses[blockIdx.x] = all - right + logf(sum);
        predicted[blockIdx.x] = best;
    }
    if (scale == 0.0f) return;
    bf16 *to = d_logits + (u64)blockIdx.x * vocabulary;
    float factor = scale / sum;
    for (u32 i = threadIdx.x; i < vocabulary; i += blockDim.x) {
        to[i] = narrow(expf(row[i] - all) * factor);
    }
    __syncthreads();
    // A token may stand there twice: each place writes what all of them leave.
    for (u32 i = threadIdx.x; i <= soft_count; i += blockDim.x) {
        u32 token = i < soft_count ? soft_tokens[i] : target;
        float share = token == target ? rest : 0.0f;
        for (u32 j = 0; j < soft_count; j++) share += soft_tokens[j] == token ? soft_shares[j] : 0.0f;
        to[token] = narrow(expf(row[token] - all) * factor - scale * share);
    }
}

// ---------------------------------------------------------------- attention
//
// Products of 16 x 16 and 16 x 8 tiles by tensor cores. Lane l of a warp is (l / 4, l % 4) = (g, t).
// Of a left tile it holds the pairs (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8); of a right
// tile the pairs of rows 2t and 2t + 8 in column g; of a sum (g, 2t), (g, 2t + 1), (g + 8, 2t),
// (g + 8, 2t + 1). (PTX ISA, mma.m16n8k16.)

#ifdef __CUDACC_RTC__
#define UNROLL _Pragma("unroll") // arrays that are indexed by constants alone stay in registers
static __device__ void multiply_add(float sum[4], const u32 left[4], const u32 right[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
}
#else
#define UNROLL
#endif

// One part (query, key or value) of one head, in all tokens.
struct Part {
    const bf16 *at;
    u32 stride;
    u32 tokens;
    u32 width;
};

static __device__ u32 load_pair(const Part &part, u32 row, u32 column)
{
    if (row >= part.tokens || column >= part.width) return 0;
    return *pairs(part.at + (u64)row * part.stride + column);
}

// Rows of shared memory are eight values longer than a head: neighbours then lie in other banks.
// They are read in pairs.
template <u32 WIDTH> struct alignas(16) Row { bf16 values[WIDTH + 8]; };

template <u32 WIDTH> static __device__ void load_rows(Row<WIDTH> *tile, u32 rows, const Part &part, u32 first)
{
    for (u32 i = threadIdx.x; i < rows * WIDTH / 2; i += blockDim.x) {
        u32 row = i / (WIDTH / 2), column = i % (WIDTH / 2) * 2;
        *pairs(tile[row].values + column) = load_pair(part, first + row, column);
    }
}

// The left tile of rows from `row` and columns from `column`.
static __device__ void left_tile(u32 left[4], const Part &part, u32 row, u32 column)
{
    u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (u32 i = 0; i < 4; i++)
        left[i] = load_pair(part, row + g + i % 2 * 8, column + 2 * t + i / 2 * 8);
}

template <u32 WIDTH> static __device__ void left_tile(u32 left[4], Row<WIDTH> *tile, u32 row, u32 column)
{
    u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (u32 i = 0; i < 4; i++)
        left[i] = *pairs(tile[row + g + i % 2 * 8].values + column + 2 * t + i / 2 * 8);
}

// The right tile whose columns are rows from `row`: products along the rows of both.
template <u32 WIDTH> static __device__ void right_across(u32 right[2], Row<WIDTH> *tile, u32 row, u32 column)
{
    u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (u32 i = 0; i < 2; i++)
        right[i] = *pairs(tile[row + g].values + column + 2 * t + i * 8);
}

// The right tile as it lies.
template <u32 WIDTH> static __device__ void right_down(u32 right[2], Row<WIDTH> *tile, u32 row, u32 column)
{
    u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (u32 i = 0; i < 2; i++) {
        u32 at = row + 2 * t + i * 8;
        right[i] = (u32)tile[at].values[column + g] | (u32)tile[at + 1].values[column + g] << 16;
    }
}

// A sum of two neighbouring tiles as a left tile.
static __device__ void sum_as_left(u32 left[4], const float a[4], const float b[4])
{
    left[0] = pair(a[0], a[1]);
    left[1] = pair(a[2], a[3]);
    left[2] = pair(b[0], b[1]);
    left[3] = pair(b[2], b[3]);
}

// A row of sums, times a factor, where a head has columns.
template <u32 COLUMNS>
static __device__ void store_row(bf16 *to, const float (&sums)[COLUMNS][4], u32 row, u32 width, float factor)
{
    UNROLL for (u32 n = 0; n < COLUMNS; n++) {
        u32 column = n * 8 + threadIdx.x % 4 * 2;
        if (column < width)
            *pairs(to + column) = pair(sums[n][2 * row] * factor, sums[n][2 * row + 1] * factor);
    }
}

struct Shape {
    u32 tokens, heads, kv_heads, width;
    __device__ u32 row() const { return (heads + 2 * kv_heads) * width; }
    __device__ Part query(const bf16 *qkv, u32 head) const
    {
        return Part{qkv + head * width, row(), tokens, width};
    }
    __device__ Part key(const bf16 *qkv, u32 kv) const
    {
        return Part{qkv + (heads + kv) * width, row(), tokens, width};
    }
    __device__ Part value(const bf16 *qkv, u32 kv) const
    {
        return Part{qkv + (heads + kv_heads + kv) * width, row(), tokens, width};
    }
    __device__ Part out(const bf16 *rows, u32 head) const
    {
        return Part{rows + head * width, heads * width, tokens, width};
    }
};

// A block of four warps: 64 queries of one head, 16 a warp, over the keys they may see.
template <u32 WIDTH> static __device__ void attend(bf16 *out, float *log_sums, const bf16 *qkv,
                                                   const u32 *starts, Shape shape, float scale)
{
    const u32 KEYS = 64, STEPS = WIDTH / 16, COLUMNS = WIDTH / 8, TILES = KEYS / 8;
    __shared__ Row<WIDTH> keys[KEYS], values[KEYS];
    u32 head = blockIdx.y, kv = head / (shape.heads / shape.kv_heads);
    Part query = shape.query(qkv, head), key = shape.key(qkv, kv), value = shape.value(qkv, kv);
    u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    u32 first = blockIdx.x * 64, rows = first + threadIdx.x / 32 * 16;
    u32 own[2] = {rows + g, rows + g + 8}, start[2];
    for (u32 i = 0; i < 2; i++) start[i] = own[i] < shape.tokens ? starts[own[i]] : shape.tokens;
    u32 left[STEPS][4];
    for (u32 k = 0; k < STEPS; k++) left_tile(left[k], query, rows, k * 16);
    float sums[COLUMNS][4] = {}, most[2] = {NOTHING, NOTHING}, total[2] = {0.0f, 0.0f};

    for (u32 from = starts[first] / KEYS * KEYS; from <= first; from += KEYS) {
        __syncthreads();
        load_rows(keys, KEYS, key, from);
        load_rows(values, KEYS, value, from);
        __syncthreads();
        float scores[TILES][4] = {};
        for (u32 n = 0; n < TILES; n++)
            for (u32 k = 0; k < STEPS; k++) {
                u32 right[2];
                right_across(right, keys, n * 8, k * 16);
                multiply_add(scores[n], left[k], right);
            }
        float next[2] = {most[0], most[1]};
        for (u32 n = 0; n < TILES; n++)
            for (u32 i = 0; i < 4; i++) {
                u32 at = from + n * 8 + 2 * t + i % 2, row = i / 2;
                bool is_seen = at <= own[row] && at >= start[row];
                scores[n][i] = is_seen ? scores[n][i] * scale : NOTHING;
                next[row] = scores[n][i] > next[row] ? scores[n][i] : next[row];
            }
        float shift[2];
        for (u32 row = 0; row < 2; row++) {
            for (u32 step = 1; step < 4; step *= 2) {
                float other = __shfl_xor_sync(0xffffffffu, next[row], step);
                next[row] = other > next[row] ? other : next[row];
            }
            // A row that has seen nothing yet has no largest score to shift by.
            shift[row] = next[row] == NOTHING ? 0.0f : next[row];
            float keep = expf(most[row] - shift[row]);
            most[row] = next[row];
            total[row] *= keep;
            for (u32 n = 0; n < COLUMNS; n++) {
                sums[n][2 * row] *= keep;
                sums[n][2 * row + 1] *= keep;
            }
        }
        for (u32 n = 0; n < TILES; n++)
            for (u32 i = 0; i < 4; i++) {
                scores[n][i] = expf(scores[n][i] - shift[i / 2]);
                total[i / 2] += scores[n][i];
            }
        for (u32 k = 0; k < KEYS / 16; k++) {
            u32 weights[4];
            sum_as_left(weights, scores[2 * k], scores[2 * k + 1]);
            for (u32 n = 0; n < COLUMNS; n++) {
                u32 right[2];
                right_down(right, values, k * 16, n * 8);
                multiply_add(sums[n], weights, right);
            }
        }
    }
    UNROLL for (u32 row = 0; row < 2; row++) {
        for (u32 step = 1; step < 4; step *= 2)
            total[row] += __shfl_xor_sync(0xffffffffu, total[row], step);
        if (own[row] >= shape.tokens) continue;
        if (t == 0) log_sums[(u64)head * shape.tokens + own[row]] = most[row] + logf(total[row]);
        bf16 *to = out + ((u64)own[row] * shape.heads + head) * shape.width;
        UNROLL for (u32 n = 0; n < COLUMNS; n++)
            for (u32 i = 2 * row; i < 2 * row + 2; i++) sums[n][i] /= total[row];
        store_row(to, sums, row, shape.width, 1.0f);
    }
}

// A block a token: along[head][token] = the head's part of out times that of d_out.
extern "C" __global__ void row_dots(float *along, const bf16 *out, const bf16 *d_out, u32 tokens,
                                    u32 heads, u32 head_width)
{
    u64 row = (u64)blockIdx.x * heads * head_width;
    for (u32 head = threadIdx.x / 32; head < heads; head += blockDim.x / 32) {
        float sum = 0.0f;
        for (u32 i = threadIdx.x % 32; i < head_width; i += 32) {
            u64 at = row + head * head_width + i;
            sum += wide(out[at]) * wide(d_out[at]);
        }
        sum = over_warp<Sum>(sum);
        if (threadIdx.x % 32 == 0) along[(u64)head * tokens + blockIdx.x] = sum;
    }
}

// What the way back is given.
struct Back {
    bf16 *d_qkv;
    const bf16 *qkv;
    const float *log_sums, *along;
    const bf16 *d_out;
    const u32 *starts;
};

// As `attend`: the derivative of 64 queries of one head.
template <u32 WIDTH> static __device__ void attend_queries(Back back, Shape shape, float scale)
{
    const u32 KEYS = 32, STEPS = WIDTH / 16, COLUMNS = WIDTH / 8, TILES = KEYS / 8;
    __shared__ Row<WIDTH> keys[KEYS], values[KEYS];
    u32 head = blockIdx.y, kv = head / (shape.heads / shape.kv_heads);
    Part query = shape.query(back.qkv, head), d_part = shape.out(back.d_out, head);
    Part key = shape.key(back.qkv, kv), value = shape.value(back.qkv, kv);
    u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    u32 first = blockIdx.x * 64, rows = first + threadIdx.x / 32 * 16;
    u32 own[2] = {rows + g, rows + g + 8}, start[2];
    float log_sum[2], along[2];
    for (u32 i = 0; i < 2; i++) {
        bool is_row = own[i] < shape.tokens;
        u64 at = (u64)head * shape.tokens + own[i];
        start[i] = is_row ? back.starts[own[i]] : shape.tokens;
        log_sum[i] = is_row ? back.log_sums[at] : 0.0f;
        along[i] = is_row ? back.along[at] : 0.0f;
    }
    u32 left[STEPS][4], d_left[STEPS][4];
    for (u32 k = 0; k < STEPS; k++) {
        left_tile(left[k], query, rows, k * 16);
        left_tile(d_left[k], d_part, rows, k * 16);
    }
    float sums[COLUMNS][4] = {};

    for (u32 from = back.starts[first] / KEYS * KEYS; from < first + 64; from += KEYS) {
        __syncthreads();
        load_rows(keys, KEYS, key, from);
        load_rows(values, KEYS, value, from);
        __syncthreads();
        float scores[TILES][4] = {}, d_weights[TILES][4] = {};
        for (u32 n = 0; n < TILES; n++)
            for (u32 k = 0; k < STEPS; k++) {
                u32 right[2];
                right_across(right, keys, n * 8, k * 16);
                multiply_add(scores[n], left[k], right);
                right_across(right, values, n * 8, k * 16);
                multiply_add(d_weights[n], d_left[k], right);
            }
        for (u32 n = 0; n < TILES; n++)
            for (u32 i = 0; i < 4; i++) {
                u32 at = from + n * 8 + 2 * t + i % 2, row = i / 2;
                bool is_seen = at <= own[row] && at >= start[row];
                float weight = is_seen ? expf(scores[n][i] * scale - log_sum[row]) : 0.0f;
                scores[n][i] = weight * (d_weights[n][i] - along[row]);
            }
        for (u32 k = 0; k < KEYS / 16; k++) {
            u32 d_scores[4];
            sum_as_left(d_scores, scores[2 * k], scores[2 * k + 1]);
            for (u32 n = 0; n < COLUMNS; n++) {
                u32 right[2];
                right_down(right, keys, k * 16, n * 8);
                multiply_add(sums[n], d_scores, right);
            }
        }
    }
    UNROLL for (u32 row = 0; row < 2; row++) {
        if (own[row] >= shape.tokens) continue;
        bf16 *to = back.d_qkv + (u64)own[row] * shape.row() + head * shape.width;
        store_row(to, sums, row, shape.width, scale);
    }
}

// A block of four warps: the derivatives of 64 keys and values, 16 a warp, from all queries of their
// heads that see them. Scores lie transposed: a row a key, a column a query.
template <u32 WIDTH> static __device__ void attend_keys(Back back, Shape shape, float scale)
{
    const u32 QUERIES = 16, STEPS = WIDTH / 16, COLUMNS = WIDTH / 8, TILES = QUERIES / 8;
    __shared__ Row<WIDTH> keys[64], values[64], queries[QUERIES], d_outs[QUERIES];
    __shared__ float log_sums[QUERIES], along[QUERIES];
    __shared__ u32 starts[QUERIES];
    u32 kv = blockIdx.y, group = shape.heads / shape.kv_heads;
    u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    u32 first = blockIdx.x * 64, warp_row = threadIdx.x / 32 * 16;
    u32 own[2] = {first + warp_row + g, first + warp_row + g + 8};
    u32 last = first + 63 < shape.tokens ? first + 63 : shape.tokens - 1;
    load_rows(keys, 64, shape.key(back.qkv, kv), first);
    load_rows(values, 64, shape.value(back.qkv, kv), first);
    float d_keys[COLUMNS][4] = {}, d_values[COLUMNS][4] = {};

    for (u32 head = kv * group; head < (kv + 1) * group; head++) {
        Part query = shape.query(back.qkv, head), d_part = shape.out(back.d_out, head);
        for (u32 from = first; from < shape.tokens && back.starts[from] <= last; from += QUERIES) {
            __syncthreads();
            load_rows(queries, QUERIES, query, from);
            load_rows(d_outs, QUERIES, d_part, from);
            if (threadIdx.x < QUERIES) {
                u32 at = from + threadIdx.x;
                bool is_row = at < shape.tokens;
                u64 place = (u64)head * shape.tokens + at;
                // A query beyond the last sees no key.
                starts[threadIdx.x] = is_row ? back.starts[at] : shape.tokens;
                log_sums[threadIdx.x] = is_row ? back.log_sums[place] : 0.0f;
                along[threadIdx.x] = is_row ? back.along[place] : 0.0f;
            }
            __syncthreads();
            float weights[TILES][4] = {}, d_scores[TILES][4] = {};
            for (u32 k = 0; k < STEPS; k++) {
                u32 key[4], value[4], right[2];
                left_tile(key, keys, warp_row, k * 16);
                left_tile(value, values, warp_row, k * 16);
                for (u32 n = 0; n < TILES; n++) {
                    right_across(right, queries, n * 8, k * 16);
                    multiply_add(weights[n], key, right);
                    right_across(right, d_outs, n * 8, k * 16);
                    multiply_add(d_scores[n], value, right);
                }
            }
            for (u32 n = 0; n < TILES; n++)
                for (u32 i = 0; i < 4; i++) {
                    u32 column = n * 8 + 2 * t + i % 2, row = own[i / 2];
                    bool is_seen = row <= from + column && row >= starts[column];
                    float score = weights[n][i] * scale - log_sums[column];
                    weights[n][i] = is_seen ? expf(score) : 0.0f;
                    d_scores[n][i] = weights[n][i] * (d_scores[n][i] - along[column]);
                }
            u32 left[4], d_left[4];
            sum_as_left(left, weights[0], weights[1]);
            sum_as_left(d_left, d_scores[0], d_scores[1]);
            UNROLL for (u32 n = 0; n < COLUMNS; n++) {
                u32 right[2];
                right_down(right, d_outs, 0, n * 8);
                multiply_add(d_values[n], left, right);
                right_down(right, queries, 0, n * 8);
                multiply_add(d_keys[n], d_left, right);
            }
        }
    }
    UNROLL for (u32 row = 0; row < 2; row++) {
        if (own[row] >= shape.tokens) continue;
        bf16 *to = back.d_qkv + (u64)own[row] * shape.row() + (shape.heads + kv) * shape.width;
        store_row(to, d_keys, row, shape.width, scale);
        store_row(to + shape.kv_heads * shape.width, d_values, row, shape.width, 1.0f);
    }
}

#define ATTENTION(WIDTH)                                                                            \
    extern "C" __global__ void __launch_bounds__(128) attention_##WIDTH(                            \
        bf16 *out, float *log_sums, const bf16 *qkv, const u32 *starts, u32 tokens, u32 heads,      \
        u32 kv_heads, u32 head_width, float scale)                                                  \
    {                                                                                               \
        attend<WIDTH>(out, log_sums, qkv, starts, Shape{tokens, heads, kv_heads, head_width},       \
                      scale);                                                                       \
    }                                                                                               \
    extern "C" __global__ void __launch_bounds__(128) attention_queries_##WIDTH(                    \
        bf16 *d_qkv, const bf16 *qkv, const float *log_sums, const float *along, const bf16 *d_out, \
        const u32 *starts, u32 tokens, u32 heads, u32 kv_heads, u32 head_width, float scale)        \
    {                                                                                               \
        attend_queries<WIDTH>(Back{d_qkv, qkv, log_sums, along, d_out, starts},                     \
                              Shape{tokens, heads, kv_heads, head_width}, scale);                   \
    }                                                                                               \
    extern "C" __global__ void __launch_bounds__(128) attention_keys_##WIDTH(                       \
        bf16 *d_qkv, const bf16 *qkv, const float *log_sums, const float *along, const bf16 *d_out, \
        const u32 *starts, u32 tokens, u32 heads, u32 kv_heads, u32 head_width, float scale)        \
    {                                                                                               \
        attend_keys<WIDTH>(Back{d_qkv, qkv, log_sums, along, d_out, starts},                        \
                           Shape{tokens, heads, kv_heads, head_width}, scale);                      \
    }

ATTENTION(32)
ATTENTION(64)
ATTENTION(128)

// ---------------------------------------------------------------- flat vectors

#define EACH(index, count)                                                                         \
    for (u64 index = (u64)blockIdx.x * blockDim.x + threadIdx.x; index < count;                    \
         index += (u64)gridDim.x * blockDim.x)

extern "C" __global__ void cast(bf16 *out, const float *in, u64 count)
{
    EACH(i, count) out[i] = narrow(in[i]);
}

// 32 bits that depend on every bit of both (the finaliser of splitmix64).
static __device__ u32 hash(u64 seed, u64 index)
{
    u64 x = seed + (index + 1) * 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return (u32)((x ^ x >> 31) >> 32);
}

// Leaves out what hashes below the limit; the others grow.
extern "C" __global__ void dropout(bf16 *out, const bf16 *in, u64 count, u64 seed, u32 limit,
                                   float grown)
{
    EACH(i, count) out[i] = hash(seed, i) < limit ? (bf16)0 : narrow(wide(in[i]) * grown);
}

// sum += what `dropout` makes of `in`.
extern "C" __global__ void dropout_add(bf16 *sum, const bf16 *in, u64 count, u64 seed, u32 limit,
                                       float grown)
{
    EACH(i, count)
    {
        float kept = hash(seed, i) < limit ? 0.0f : wide(in[i]) * grown;
        sum[i] = narrow(wide(sum[i]) + kept);
    }
}

// A part a block of 256 threads.
extern "C" __global__ void sum_of_squares(double *partial, const float *values, u64 count)
{
    __shared__ double parts[256];
    double sum = 0.0;
    EACH(i, count) sum += (double)values[i] * values[i];
    parts[threadIdx.x] = sum;
    for (u32 half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    }
    if (threadIdx.x == 0) partial[blockIdx.x] = parts[0];
}

// One AdamW step; `step` and `epsilon` hold the corrections of the moments' zero start.
extern "C" __global__ void adamw(float *parameters, bf16 *rounded, const float *gradient,
                                 float *first, float *second, u64 count, float clip, float keep,
                                 float a, float b, float step, float epsilon)
{
    EACH(i, count)
    {
        float g = gradient[i] * clip;
        float m = first[i] = a * first[i] + (1.0f - a) * g;
        float v = second[i] = b * second[i] + (1.0f - b) * g * g;
        float x = parameters[i] = parameters[i] * keep - step * m / (sqrtf(v) + epsilon);
        rounded[i] = narrow(x);
    }
}

// Moves the momentum on; `ahead` is the gradient looked at one step ahead (Nesterov).
extern "C" __global__ void momentum(bf16 *ahead, float *momentum, const float *gradient, u64 count,
                                    float clip, float keep)
{
    EACH(i, count)
    {
        float g = gradient[i] * clip;
        float m = momentum[i] = keep * momentum[i] + g;
        ahead[i] = narrow(g + keep * m);
    }
}

// A part a block.
extern "C" __global__ void square_sums(float *partial, const bf16 *values, u64 count)
{
    float sum = 0.0f;
    EACH(i, count) sum += wide(values[i]) * wide(values[i]);
    sum = over_block<Sum>(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// Divides by the root of the sum of the 256 parts of `square_sums`.
extern "C" __global__ void normalise(bf16 *values, const float *partial, u64 count)
{
    float factor = 1.0f / (sqrtf(over_block<Sum>(partial[threadIdx.x])) + 1e-7f);
    EACH(i, count) values[i] = narrow(wide(values[i]) * factor);
}

// parameters = keep parameters + factor update.
extern "C" __global__ void decay_and_add(float *parameters, bf16 *rounded, const bf16 *update,
                                         u64 count, float keep, float factor)
{
    EACH(i, count)
    {
        float x = parameters[i] = keep * parameters[i] + factor * wide(update[i]);
        rounded[i] = narrow(x);
    }
}
