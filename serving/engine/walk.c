/* Scores rows with fitted models that were read into arrays, in scikit-learn's own order of additions.

   Rows come by column: value `r` of column `c` stands at x[c * n + r]. A missing value is NaN. Answers go to
   out[o * n + r], one series for each output. Nothing here allocates, keeps state or writes anything else.

   Two ways through a tree give the same leaf:
   - `scan`, for trees of up to 64 leaves, follows no path. Each test that sends a row to the right rules out the leaves
     on the left; a table says which leaves of every tree one value of one column leaves over. Their intersection begins
     with the row's leaf (Lucchese et al., QuickScorer, SIGIR 2015).
   - `walk` goes from the root to a leaf, for eight trees or eight rows at once, so that they wait for memory together.

   Compile with -ffp-contract=off: a fused multiplication and addition has other last bits. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define ABI 1
#define ROWS 64    /* rows that are taken together, so that tables stay in the cache */
#define COLUMNS 512 /* the widest plan; wider ones are refused when they are compiled and when they are loaded */
#define LANES 8

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* From the sum of a row to its answer. */
typedef struct {
    double divide; /* the number of trees of a forest; 0: leave the sum as it is */
    double slope, offset;
    int64_t calibrated; /* 1: -(slope * sum + offset) */
    int64_t logistic;   /* 1: 1 / (1 + exp(-sum)) */
} Link;

static double answer(const Link *link, double sum)
{
    if (link->divide != 0)
        sum /= link->divide;
    if (link->calibrated)
        sum = -(link->slope * sum + link->offset);
    if (link->logistic)
        sum = 1 / (1 + exp(-sum));
    return sum;
}

EXPORT void answer_all(const Link *link, double *out, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = answer(link, out[i]);
}

EXPORT int64_t abi(void) { return ABI; }

/* ---- scan ------------------------------------------------------------------------------------------------------- */

#define BLOCK 128 /* bytes of one line of the table that are intersected at once: 32 trees of 32 leaves, 16 of 64 */

typedef uint64_t Pair __attribute__((vector_size(16), aligned(4), may_alias));

typedef struct {
    int64_t trees, outputs, columns, leaf_bits; /* leaf_bits: 32 or 64 */
    int64_t line;                               /* bytes of a line: all trees, filled up to whole blocks */
    const int64_t *column;                      /* [columns] where in x */
    const int64_t *category;                    /* [columns] number of categories; 0: a number, which has cuts */
    const int64_t *first_cut;                   /* [columns + 1] in cuts */
    const int64_t *first_line;                  /* [columns + 1] in the table */
    const double *cuts;                         /* ascending within a column */
    const uint8_t *table;                       /* [lines][line] leaves left over */
    const double *leaves;                       /* [trees][leaf_bits] */
    const double *baseline;                     /* [outputs] */
    Link link;
} Scan;

/* How many cuts lie below x: x <= cuts[i] is true from that cut on. */
static int64_t cuts_below(const double *cuts, int64_t count, double x)
{
    const double *base = cuts;
    if (count == 0)
        return 0;
    while (count > 1) {
        int64_t half = count / 2;
        base = base[half - 1] < x ? base + half : base;
        count -= half;
    }
    return base - cuts + (*base < x);
}

static int64_t line_of(const Scan *plan, int64_t c, double x)
{
    int64_t first = plan->first_line[c], last = plan->first_line[c + 1] - 1;
    if (!(x == x))
        return last;
    if (plan->category[c] == 0)
        return first + cuts_below(plan->cuts + plan->first_cut[c], plan->first_cut[c + 1] - plan->first_cut[c], x);
    return x >= 0 && x < (double)plan->category[c] ? first + (int64_t)x : last;
}

static void intersect(const Scan *plan, const uint32_t *lines, int64_t stride, int64_t at, Pair left[8])
{
    Pair a, b, c, d, e, f, g, h;
    memset(&a, 0xff, sizeof a);
    b = c = d = e = f = g = h = a;
    for (int64_t i = 0; i < plan->columns; i++) {
        const Pair *one = (const Pair *)(plan->table + (int64_t)lines[i * stride] * plan->line + at);
        a &= one[0], b &= one[1], c &= one[2], d &= one[3];
        e &= one[4], f &= one[5], g &= one[6], h &= one[7];
    }
    left[0] = a, left[1] = b, left[2] = c, left[3] = d, left[4] = e, left[5] = f, left[6] = g, left[7] = h;
}

/* The highest leaf is always left over, so that even a spoilt table leads to some leaf and never outside. */
static double leaf32(const Scan *plan, const Pair *left, int64_t first, int64_t i)
{
    uint32_t word;
    memcpy(&word, (const char *)left + i * 4, 4);
    return plan->leaves[(first + i) * 32 + __builtin_ctz(word | 0x80000000u)];
}

static double leaf64(const Scan *plan, const Pair *left, int64_t first, int64_t i)
{
    uint64_t word;
    memcpy(&word, (const char *)left + i * 8, 8);
    return plan->leaves[(first + i) * 64 + __builtin_ctzll(word | 0x8000000000000000u)];
}

/* Adds the leaves of trees first to first + count onto the sums of one row. */
static void add_leaves(const Scan *plan, const Pair *left, int64_t first, int64_t count, double *sums, int64_t stride)
{
    if (plan->outputs == 1) {
        double sum = *sums;
        if (plan->leaf_bits == 32)
            for (int64_t i = 0; i < count; i++)
                sum += leaf32(plan, left, first, i);
        else
            for (int64_t i = 0; i < count; i++)
                sum += leaf64(plan, left, first, i);
        *sums = sum;
        return;
    }
    for (int64_t i = 0, output = first % plan->outputs; i < count; i++) {
        sums[output * stride] += plan->leaf_bits == 32 ? leaf32(plan, left, first, i) : leaf64(plan, left, first, i);
        output = output + 1 == plan->outputs ? 0 : output + 1;
    }
}

static void scan_rows(const Scan *plan, const double *x, int64_t n, int64_t row, int64_t rows, double *out)
{
    uint32_t lines[COLUMNS * ROWS];
    Pair left[8];
    int64_t per_block = BLOCK * 8 / plan->leaf_bits;
    for (int64_t c = 0; c < plan->columns; c++)
        for (int64_t r = 0; r < rows; r++)
            lines[c * rows + r] = (uint32_t)line_of(plan, c, x[plan->column[c] * n + row + r]);
    for (int64_t o = 0; o < plan->outputs; o++)
        for (int64_t r = 0; r < rows; r++)
            out[o * n + row + r] = plan->baseline[o];
    for (int64_t first = 0; first < plan->trees; first += per_block) {
        int64_t count = plan->trees - first < per_block ? plan->trees - first : per_block;
        for (int64_t r = 0; r < rows; r++) {
            intersect(plan, lines + r, rows, first * plan->leaf_bits / 8, left);
            add_leaves(plan, left, first, count, out + row + r, n);
        }
    }
}

EXPORT int64_t scan_many(const Scan *plan, const double *x, int64_t n, double *out)
{
    for (int64_t row = 0; row < n; row += ROWS)
        scan_rows(plan, x, n, row, n - row < ROWS ? n - row : ROWS, out);
    answer_all(&plan->link, out, n * plan->outputs);
    return -1;
}

EXPORT double scan_one(const Scan *plan, const double *x)
{
    double out;
    scan_rows(plan, x, 1, 0, 1, &out);
    return answer(&plan->link, out);
}

/* ---- walk ------------------------------------------------------------------------------------------------------- */

#define MISSING_RIGHT 0x80000000u
#define CATEGORY 0x40000000u
#define COLUMN 0x3fffffffu

/* The right child stands behind the left one. A leaf is its own left child, and nothing sends a row to its right. */
typedef struct {
    double cut; /* of a test for categories: the number of its set */
    uint32_t left;
    uint32_t test;
} Node;

typedef struct {
    int64_t trees, outputs, columns;
    int64_t width;       /* values of a leaf: 1 (trees take turns at the outputs) or one for each output */
    int64_t single;      /* 1: a value is rounded to 32 bits first, and must stay finite */
    int64_t takes_missing;
    const int64_t *root; /* [trees] */
    const Node *nodes;
    const uint8_t *sets;  /* [sets][32] bit v: category v goes to the left */
    const double *values; /* [nodes][width] */
    const double *baseline;
    Link link;
} Walk;

static uint32_t goes_right(const Walk *plan, const Node *node, double x)
{
    uint32_t missing_right = node->test >> 31;
    if (node->test & CATEGORY) {
        if (!(x >= 0 && x < 256))
            return missing_right;
        uint32_t value = (uint32_t)x;
        return !(plan->sets[(int64_t)node->cut * 32 + (value >> 3)] >> (value & 7) & 1);
    }
    return (uint32_t)(x > node->cut) | ((uint32_t)(x != x) & missing_right);
}

/* Takes every lane from the node it is at down to a leaf. */
static void descend(const Walk *plan, uint32_t at[LANES], const double *row[LANES])
{
    uint32_t moved;
    do {
        moved = 0;
        for (int lane = 0; lane < LANES; lane++) {
            const Node *node = plan->nodes + at[lane];
            uint32_t next = node->left + goes_right(plan, node, row[lane][node->test & COLUMN]);
            moved |= next ^ at[lane];
            at[lane] = next;
        }
    } while (moved);
}

static void add_value(const Walk *plan, int64_t tree, uint32_t leaf, double *sums, int64_t stride)
{
    const double *value = plan->values + (int64_t)leaf * plan->width;
    if (plan->width == 1) {
        sums[tree % plan->outputs * stride] += *value;
        return;
    }
    for (int64_t o = 0; o < plan->width; o++)
        sums[o * stride] += value[o];
}

/* Copies rows out of their columns; gives the first row that may not be scored, or -1. */
static int64_t gather(const Walk *plan, const double *x, int64_t n, int64_t row, int64_t rows, double *into)
{
    int64_t refused = -1;
    for (int64_t r = rows - 1; r >= 0; r--)
        for (int64_t c = 0; c < plan->columns; c++) {
            double value = x[c * n + row + r];
            if (plan->single)
                value = (double)(float)value;
            if ((plan->single && isinf(value)) || (!plan->takes_missing && value != value))
                refused = row + r;
            into[r * plan->columns + c] = value;
        }
    return refused;
}

static void walk_one_row(const Walk *plan, const double *row, double *sums, int64_t stride)
{
    const double *same[LANES] = {row, row, row, row, row, row, row, row};
    uint32_t at[LANES];
    for (int64_t tree = 0; tree < plan->trees; tree += LANES) {
        for (int64_t lane = 0; lane < LANES; lane++)
            at[lane] = (uint32_t)plan->root[tree + lane < plan->trees ? tree + lane : plan->trees - 1];
        descend(plan, at, same);
        for (int64_t lane = 0; lane < LANES && tree + lane < plan->trees; lane++)
            add_value(plan, tree + lane, at[lane], sums, stride);
    }
}

static void walk_rows(const Walk *plan, const double *rows, int64_t count, double *sums, int64_t stride)
{
    const double *each[LANES];
    uint32_t at[LANES];
    for (int64_t tree = 0; tree < plan->trees; tree++)
        for (int64_t r = 0; r < count; r += LANES) {
            for (int64_t lane = 0; lane < LANES; lane++) {
                each[lane] = rows + (r + lane < count ? r + lane : count - 1) * plan->columns;
                at[lane] = (uint32_t)plan->root[tree];
            }
            descend(plan, at, each);
            for (int64_t lane = 0; lane < LANES && r + lane < count; lane++)
                add_value(plan, tree, at[lane], sums + r + lane, stride);
        }
}

/* As many rows at once as there is room for: a large tree is then brought into the cache once for all of them. */
EXPORT int64_t walk_many(const Walk *plan, const double *x, int64_t n, double *out)
{
    double rows[COLUMNS * ROWS];
    int64_t most = COLUMNS * ROWS / plan->columns;
    for (int64_t row = 0; row < n; row += most) {
        int64_t count = n - row < most ? n - row : most;
        int64_t refused = gather(plan, x, n, row, count, rows);
        if (refused >= 0)
            return refused;
        for (int64_t o = 0; o < plan->outputs; o++)
            for (int64_t r = 0; r < count; r++)
                out[o * n + row + r] = plan->baseline[o];
        if (count < LANES)
            for (int64_t r = 0; r < count; r++)
                walk_one_row(plan, rows + r * plan->columns, out + row + r, n);
        else
            walk_rows(plan, rows, count, out + row, n);
    }
    answer_all(&plan->link, out, n * plan->outputs);
    return -1;
}

/* NaN also where a row may not be scored. */
EXPORT double walk_one(const Walk *plan, const double *x)
{
    double row[COLUMNS], out = plan->baseline[0];
    if (gather(plan, x, 1, 0, 1, row) >= 0)
        return NAN;
    walk_one_row(plan, row, &out, 1);
    return answer(&plan->link, out);
}

/* ---- sum: linear models ----------------------------------------------------------------------------------------- */

enum { HOT, NUMBER, MISSING };

typedef struct {
    int64_t kind, column;
    int64_t first, count;      /* its coefficients; a number has one, a category one for each */
    double fill, mean, scale;  /* (value, or fill for a missing one, - mean) / scale */
} Term;

typedef struct {
    int64_t terms, outputs;
    const Term *term;
    const double *coefficients; /* [][outputs] */
    const double *intercept;    /* [outputs] */
    Link link;
} Sum;

static int64_t sum_row(const Sum *plan, const double *x, int64_t n, double *sums)
{
    for (int64_t o = 0; o < plan->outputs; o++)
        sums[o * n] = 0;
    for (int64_t t = 0; t < plan->terms; t++) {
        const Term *term = plan->term + t;
        double value = x[term->column * n];
        int64_t at = term->first;
        if (term->kind == HOT) {
            if (!(value >= 0 && value < (double)term->count))
                continue;
            at += (int64_t)value;
            value = 1;
        } else {
            if (term->kind == MISSING)
                value = value != value ? 1 : 0;
            else if (value != value)
                value = term->fill;
            value = (value - term->mean) / term->scale;
            if (!isfinite(value))
                return 0;
        }
        for (int64_t o = 0; o < plan->outputs; o++)
            sums[o * n] += value * plan->coefficients[at * plan->outputs + o];
    }
    for (int64_t o = 0; o < plan->outputs; o++)
        sums[o * n] += plan->intercept[o];
    return -1;
}

EXPORT int64_t sum_many(const Sum *plan, const double *x, int64_t n, double *out)
{
    for (int64_t r = 0; r < n; r++)
        if (sum_row(plan, x + r, n, out + r) >= 0)
            return r;
    answer_all(&plan->link, out, n * plan->outputs);
    return -1;
}

/* NaN also where a row may not be scored. */
EXPORT double sum_one(const Sum *plan, const double *x)
{
    double out;
    return sum_row(plan, x, 1, &out) >= 0 ? NAN : answer(&plan->link, out);
}
