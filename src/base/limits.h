/* Every ceiling that protects us from input, in one place, each with its reason. */
#ifndef TT_BASE_LIMITS_H
#define TT_BASE_LIMITS_H

#define TT_KIB ((size_t)1024)
#define TT_MIB (1024 * TT_KIB)
#define TT_GIB (1024 * TT_MIB)

/* Config and request JSON read whole into memory: a job may carry 10-20 MB (runpod.md 1). */
#define TT_MAX_JSON_BYTES (20 * TT_MIB)
/* json-c recursion: our deepest legal document has 6 levels. */
#define TT_MAX_JSON_DEPTH 32

/* What a model may be told of the size of a picture: its training pictures were smaller. */
#define TT_MAX_CONDITION_PIXELS 65536
/* A picture's side: below 64 SDXL's own 8x VAE and three UNet levels leave nothing to look at; 4096
 * is four times the trained side, and its activations already ask for tens of GB. Latents are
 * pictures / 8. */
#define TT_MIN_SIDE_PIXELS 64
#define TT_MAX_SIDE_PIXELS 4096
#define TT_SIDE_MULTIPLE   8
/* The model was trained on 1000 noise levels: more steps than levels cannot be told apart. */
#define TT_MAX_STEPS 1000
/* Pictures of one job: they travel in one JSON answer. */
#define TT_MAX_PICTURES 16
/* Guidance people use is 1-15; far beyond, f32 latents still stay finite at 100. */
#define TT_MAX_GUIDANCE 100
/* A prompt: 75 tokens hold a few hundred bytes; this leaves room for long ones and stops pasted
 * books. */
#define TT_MAX_PROMPT_BYTES (16 * TT_KIB)
/* Brackets inside brackets: weights leave their range at 25 of 1.1 each, and parsers may recurse. */
#define TT_MAX_PROMPT_NESTING 64
/* Pieces of one weight: each is a call of the tokenizer. A thousand is an adjective each with its own weight. */
#define TT_MAX_PROMPT_SEGMENTS 4096
/* Weights people use are 0 to 2; at 10 pictures are noise. Either sign. */
#define TT_MAX_PROMPT_WEIGHT 10
/* <lora:...> in one prompt: people stack up to ten, and each changes every weight. */
#define TT_MAX_PROMPT_LORAS 64
/* A picture to start from, as a file: a PNG of TT_MAX_IMAGE_PIXELS that hardly shrinks is larger, a photograph far smaller. */
#define TT_MAX_INPUT_IMAGE_BYTES (64 * TT_MIB)
/* Files looked at in a folder of models: collections have hundreds. */
#define TT_MAX_FOLDER_ENTRIES 65536
/* Texts that [a:b:0.5] and [a|b] make of one prompt: each is encoded, and its keys and values are kept. */
#define TT_MAX_PROMPT_VARIANTS 32
/* Pieces of 75 tokens: 32 hold 2400, more than 16 KiB of English would be useful for; the UNet looks at all of them. */
#define TT_MAX_PROMPT_CHUNKS 32
/* The same of all texts of one request: each is a pass of both text encoders, half a second for SDXL's on a CPU, and none of them
 * can be cancelled. */
#define TT_MAX_REQUEST_CHUNKS 256
/* Textual inversions known to one prompt, and vectors in one of them: 75 fill a chunk, the rest is cut. */
#define TT_MAX_EMBEDDINGS     64
#define TT_MAX_EMBEDDING_ROWS 4096
/* What the tokenizer takes in one call: far more than any prompt, so that its own callers set the
 * rule, and little enough that the worst text costs milliseconds. */
#define TT_MAX_TOKENIZER_BYTES TT_MIB
#define TT_MAX_TOKENS          65536
/* A model folder's own vocabulary: CLIP has 49408 ids, the largest in use anywhere about 260000. */
#define TT_MAX_VOCABULARY     (1 << 20)
#define TT_MAX_SPECIAL_TOKENS 256
/* A job's answer: sixteen 4096x4096 pictures of pure noise as PNG in base64 are 1.1 GB. */
#define TT_MAX_JOB_OUTPUT_BYTES (1280 * TT_MIB)

/* Pictures, decoded or encoded: 8192x8192. SDXL draws 1 megapixel; upscaled inputs reach 16-33. */
#define TT_MAX_IMAGE_PIXELS (64 * TT_MIB)
/* Generation text inside a picture, unpacked: long prompts are a few KiB, ComfyUI graphs some 100 KiB. */
#define TT_MAX_IMAGE_TEXT_BYTES TT_MIB
/* Key/value pairs in a settings line: A1111 with every extension on writes about 60. */
#define TT_MAX_IMAGE_TEXT_PAIRS 256

/* What a client may send as a new job, in RunPod's decimal megabytes (runpod.md 4.1). Both leave room for the id within
 * TT_MAX_JSON_BYTES. */
#define TT_MAX_RUN_BYTES     ((size_t)10000000)
#define TT_MAX_RUNSYNC_BYTES ((size_t)20000000)
/* The body of every other request: none of them needs one. */
#define TT_MAX_OTHER_BODY_BYTES (16 * TT_KIB)
/* A job's webhook or policy as JSON text: URLs beyond 8 KiB are refused by most servers. */
#define TT_MAX_JOB_MEMBER_BYTES (8 * TT_KIB)

/* URLs that we send to or are told: servers take 8 KiB; a presigned one with a session token has 2-3 KiB. */
#define TT_MAX_URL_BYTES (8 * TT_KIB)
/* All header lines of an answer, interim answers too: browsers stop at 256 KiB. */
#define TT_MAX_RESPONSE_HEADER_BYTES (256 * TT_KIB)
/* And how many they may be: services send 20 to 40. */
#define TT_MAX_RESPONSE_HEADER_LINES 200
/* What we send: a job's answer (TT_MAX_JOB_OUTPUT_BYTES) with room for its envelope; far below libcurl's 2^63. */
#define TT_MAX_REQUEST_BODY_BYTES (2 * TT_GIB)

/* Object storage, by S3's own rules: keys of 1024 bytes; bucket names of 255 at most before 2018. AWS secrets have 40
 * characters, those of its kin up to some hundred. */
#define TT_MAX_S3_KEY_BYTES    1024
#define TT_MAX_S3_BUCKET_BYTES 255
#define TT_MAX_S3_SECRET_BYTES 512

/* A log message: what the platform's own SDK keeps of one (runpod.md 1.14). */
#define TT_MAX_LOG_BYTES 4096

/* An environment variable: the longest that is read is a URL, and servers stop at 8 KiB of it. */
#define TT_MAX_VARIABLE_BYTES (8 * TT_KIB)
/* The running jobs that a heartbeat names in its URL: the reference's buffer. Percent-encoding at most trebles it. */
#define TT_MAX_PING_IDS_BYTES (64 * TT_KIB)
#define TT_MAX_PING_URL_BYTES (256 * TT_KIB)
/* One answer to a take: a single job of at most TT_MAX_JSON_BYTES, or a batch of such. */
#define TT_MAX_TAKE_BYTES       (32 * TT_MIB)
#define TT_MAX_BATCH_TAKE_BYTES (256 * TT_MIB)
/* An answer of the stop channel or to a heartbeat: a thousand ids of 128 bytes have 130 kB. */
#define TT_MAX_STOP_BYTES TT_MIB
/* Jobs asked for in one batch: what an answer of that size holds when each is as large as it may be. */
#define TT_MAX_BATCH_JOBS 1000

/* Jobs at once in one worker, each on a thread: the reference SDK's own bound for its modifier is none, and beyond a
 * thousand threads a second worker serves better. */
#define TT_MAX_CONCURRENCY 1000
/* Chunks of a stream that a handler may be ahead of the network. */
#define TT_MAX_UNSENT_CHUNKS 8
/* What a worker's own metrics callback may write: some hundred families. */
#define TT_MAX_METRICS_BYTES (64 * TT_KIB)
/* An answer without its output and error: an id, a worker's name, seven numbers. */
#define TT_MAX_ANSWER_HEAD_BYTES (4 * TT_KIB)
/* Texts we write about ourselves: metrics with the worker's own, OpenAPI with its schema, the page over it. */
#define TT_MAX_OWN_TEXT_BYTES (4 * TT_MIB)

/* Adapters that a request lists, those of scale 0 too; 16 may change something. As many as one prompt may name. */
#define TT_MAX_REQUEST_ADAPTERS 64
/* Files of textual inversions that a request lists: the largest collections have some thousand. */
#define TT_MAX_EMBEDDING_FILES 4096
/* Layers that may be skipped, as people count: SDXL's second encoder has 32. */
#define TT_MAX_CLIP_SKIP 32
/* Scores that the refiner was trained with go from 1 to 10. */
#define TT_MAX_AESTHETIC_SCORE 10

#endif
