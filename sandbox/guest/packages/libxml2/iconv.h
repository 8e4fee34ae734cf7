/* Stands in for the C library's, whose part for WASI knows few encodings and fails on others: to UTF-8 and from it, by Python's codecs. */
#ifndef BELLJAR_ICONV_H
#define BELLJAR_ICONV_H

#include <stddef.h>

/* Names of our own: the C library's are there too. */
#define iconv_open belljar_iconv_open
#define iconv belljar_iconv
#define iconv_close belljar_iconv_close

typedef struct belljar_iconv *iconv_t;

/* One of the two is UTF-8. (iconv_t)-1 and EINVAL where Python has no such encoding of texts. */
iconv_t iconv_open(const char *to, const char *from);

/* Converts what is there of whole characters and has room: 0, or (size_t)-1 and
 *
 * EILSEQ  at a character that is none, or that the other encoding has not
 * EINVAL  at a character that is not all there
 * E2BIG   where there is no room for the next one
 */
size_t iconv(iconv_t, char **in, size_t *in_left, char **out, size_t *out_left);

int iconv_close(iconv_t);

#endif
