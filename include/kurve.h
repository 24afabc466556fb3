/* Kurve's C API: predictions of a trained model without Python.

   In Python, once:    model.export("model.plan.kurve")
   In C, or any language that can call it:

       kurve_error error;
       kurve_model *model;
       if (kurve_load("model.plan.kurve", &model, &error) != KURVE_OK) {
           fprintf(stderr, "%s\n", error.text);
           return 1;
       }
       const float *inputs[] = {x};  // rows x kurve_input_size(model, 0) floats
       float *outputs[] = {y};       // rows x kurve_output_size(model, 0) floats
       kurve_predict(model, rows, inputs, outputs, &error);
       kurve_free(model);

   Predictions have the same bits as those of model.predict in Python on the same
   machine, whatever the number of rows in a call and of threads.

   Files: whatever a file contains, loading it runs no code of it, and a file that is
   damaged or made to do harm is refused; its checksums find every changed byte. It is
   checked against its own size before memory is allocated for it. The memory of a
   prediction depends on the plan in the file, so a program that takes files from
   strangers should limit the memory it may use.

   Threads: any function may be called from any thread at any time, and several threads
   may predict with one model at once; only kurve_free needs the model for itself.
   kurve_predict needs 1 MiB of stack, more than threads have by default with musl and
   on macOS. A child process after fork may go on predicting.

   Errors: every function that can fail returns a kurve_status and, unless `error` is
   NULL, describes what went wrong in it. No C++ exception leaves the library. */
#ifndef KURVE_H
#define KURVE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(KURVE_BUILD)
#define KURVE_API __declspec(dllexport)
#elif defined(_WIN32)
#define KURVE_API __declspec(dllimport)
#else
#define KURVE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Counts up with every incompatible change of this header. Functions may be added
   without one; nothing else changes. */
#define KURVE_API_VERSION 1

typedef enum kurve_status {
  KURVE_OK = 0,
  KURVE_ERROR_ARGUMENT = 1,    /* a null pointer, or a number out of range */
  KURVE_ERROR_SYSTEM = 2,      /* the file does not exist or cannot be read */
  KURVE_ERROR_FILE = 3,        /* damaged, or not a file for this library */
  KURVE_ERROR_UNSUPPORTED = 4, /* by this version of the library, or by this CPU */
  KURVE_ERROR_MEMORY = 5,      /* not enough memory */
  KURVE_ERROR_INTERNAL = 6     /* a fault in Kurve; please report it */
} kurve_status;

/* What went wrong: the status that was returned, and text in UTF-8, ended by a 0. Both
   are set by every call: to KURVE_OK and "" if all went well. */
typedef struct kurve_error {
  int32_t status;
  char text[508];
} kurve_error;

/* A model that has been loaded. It never changes. */
typedef struct kurve_model kurve_model;

/* The KURVE_API_VERSION of the library, to compare with that of the header, and its
   version, such as "1.2.3". */
KURVE_API int kurve_api_version(void);
KURVE_API const char *kurve_version(void);

/* Loads a file written by model.export("....plan.kurve"). After an error *model is
   NULL. The path is in the system's encoding, UTF-8 on Windows. */
KURVE_API kurve_status kurve_load(const char *path, kurve_model **model,
                                  kurve_error *error);

/* The same from the bytes of such a file, which are not needed after the call. */
KURVE_API kurve_status kurve_load_memory(const void *bytes, size_t size,
                                         kurve_model **model, kurve_error *error);

/* Frees a model; NULL is ignored. */
KURVE_API void kurve_free(kurve_model *model);

/* The inputs and outputs of a model, in the order of Python's. `size` is the number of
   floats of a row, the product of its `rank` axes; shapes are without the axis of rows,
   and belong to the model like the names. For an index that is out of range, or a
   model that is NULL, the numbers are 0 and the pointers NULL. */
KURVE_API size_t kurve_inputs(const kurve_model *model);
KURVE_API const char *kurve_input_name(const kurve_model *model, size_t index);
KURVE_API size_t kurve_input_rank(const kurve_model *model, size_t index);
KURVE_API const int64_t *kurve_input_shape(const kurve_model *model, size_t index);
KURVE_API int64_t kurve_input_size(const kurve_model *model, size_t index);

KURVE_API size_t kurve_outputs(const kurve_model *model);
KURVE_API const char *kurve_output_name(const kurve_model *model, size_t index);
KURVE_API size_t kurve_output_rank(const kurve_model *model, size_t index);
KURVE_API const int64_t *kurve_output_shape(const kurve_model *model, size_t index);
KURVE_API int64_t kurve_output_size(const kurve_model *model, size_t index);

/* Computes the outputs of `rows` rows. inputs[i] points to rows x kurve_input_size(i)
   floats, and outputs[i] to room for rows x kurve_output_size(i), which must not
   overlap with anything else. Integers (the words of an Embedding) are passed as
   floats. A NaN in a row makes outputs of that row NaN. After an error the outputs are
   undefined. */
KURVE_API kurve_status kurve_predict(const kurve_model *model, int64_t rows,
                                     const float *const *inputs, float *const *outputs,
                                     kurve_error *error);

/* How many threads the calls of this process may use together: at first what
   KURVE_NUM_THREADS in the environment says, or else the CPUs at hand. Small calls use
   only that of the caller. */
KURVE_API int kurve_threads(void);
KURVE_API kurve_status kurve_set_threads(int threads, kurve_error *error);

/* The instruction set in use, such as "x86-64-v3"; "" if this CPU has none that will
   do. Bits are the same between machines with the same one. */
KURVE_API const char *kurve_instruction_set(void);

#ifdef __cplusplus
}
#endif
#endif
