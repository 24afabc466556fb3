/* Predicts with a model of Kurve, without Python.

   make capi
   cc -Iinclude examples/c/predict.c -Lbuild/capi -lkurve -o predict
   LD_LIBRARY_PATH=build/capi ./predict model.plan.kurve <rows.txt

   model.plan.kurve is what model.export writes in Python. Reads rows of numbers, those
   of all inputs one behind the other, and prints the outputs of each row on a line. */
#include <kurve.h>

#include <stdio.h>
#include <stdlib.h>

static int failed(const kurve_error *error) {
  fprintf(stderr, "predict: %s\n", error->text);
  return 1;
}

static void describe(const char *what, const char *name, size_t rank,
                     const int64_t *shape) {
  fprintf(stderr, "%s %s: rows", what, name);
  for (size_t i = 0; i < rank; i++) fprintf(stderr, " x %lld", (long long)shape[i]);
  fprintf(stderr, "\n");
}

/* Reads one row; 1 if there was one, 0 at the end, -1 if there is only a part of one. */
static int read_row(const kurve_model *model, float **inputs) {
  int any = 0;
  for (size_t i = 0; i < kurve_inputs(model); i++)
    for (int64_t k = 0; k < kurve_input_size(model, i); k++, any = 1)
      if (scanf("%f", &inputs[i][k]) != 1) return any ? -1 : 0;
  return 1;
}

int main(int count, char **arguments) {
  if (count != 2) {
    fprintf(stderr, "usage: predict model.plan.kurve <rows.txt\n");
    return 2;
  }
  if (kurve_api_version() != KURVE_API_VERSION) {
    fprintf(stderr, "predict: kurve.h is of another version than the library %s\n",
            kurve_version());
    return 2;
  }
  kurve_error error;
  kurve_model *model;
  if (kurve_load(arguments[1], &model, &error) != KURVE_OK) return failed(&error);

  size_t inputs = kurve_inputs(model), outputs = kurve_outputs(model);
  float **x = calloc(inputs, sizeof *x), **y = calloc(outputs, sizeof *y);
  for (size_t i = 0; i < inputs; i++) {
    describe("input", kurve_input_name(model, i), kurve_input_rank(model, i),
             kurve_input_shape(model, i));
    x[i] = malloc((size_t)kurve_input_size(model, i) * sizeof **x);
  }
  for (size_t i = 0; i < outputs; i++) {
    describe("output", kurve_output_name(model, i), kurve_output_rank(model, i),
             kurve_output_shape(model, i));
    y[i] = malloc((size_t)kurve_output_size(model, i) * sizeof **y);
  }

  /* One row at a time keeps this short; many in one call are faster. */
  int found, status = 0;
  while ((found = read_row(model, x)) == 1) {
    if (kurve_predict(model, 1, (const float *const *)x, y, &error) != KURVE_OK) {
      status = failed(&error);
      break;
    }
    const char *between = "";
    for (size_t i = 0; i < outputs; i++)
      for (int64_t k = 0; k < kurve_output_size(model, i); k++, between = " ")
        printf("%s%.9g", between, y[i][k]);
    printf("\n");
  }
  if (found < 0) {
    fprintf(stderr, "predict: the last row is not complete\n");
    status = 1;
  }

  for (size_t i = 0; i < inputs; i++) free(x[i]);
  for (size_t i = 0; i < outputs; i++) free(y[i]);
  free(x);
  free(y);
  kurve_free(model);
  return status;
}
