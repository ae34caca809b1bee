/* Print topic and JSON of what the daemon hears: ./subscribe [ENDPOINT [COUNT [SERVER_KEY KEY_FILE]]]
 *
 *     cc -Wall -o subscribe subscribe.c -lzmq      (apt install libzmq3-dev)
 *
 * A daemon on another machine wants keys: SERVER_KEY is what `streamer keys show --plain` prints there, KEY_FILE
 * the own.key that `streamer keys new` makes here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* Set an option to the value in the line `NAME = "VALUE"` of the key file. Returns 0, or -1 on an error. */
static int set_key(void *socket, int option, const char *path, const char *name)
{
    char line[256], key[41] = "", pattern[64];
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return -1;
    snprintf(pattern, sizeof pattern, " %s = \"%%40[^\"]", name);
    while (fgets(line, sizeof line, file) && sscanf(line, pattern, key) != 1)
        ;
    fclose(file);
    return zmq_setsockopt(socket, option, key, strlen(key));
}

/* Print one part of a message and what follows it. Returns whether there is another part, -1 on an error. */
static int print_part(void *socket, const char *after)
{
    zmq_msg_t part;
    zmq_msg_init(&part);
    int size = zmq_msg_recv(&part, socket, 0);
    int more = size < 0 ? -1 : zmq_msg_more(&part);
    if (size >= 0)
        printf("%.*s%s", size, (const char *)zmq_msg_data(&part), after);
    zmq_msg_close(&part);
    return more;
}

int main(int argc, char **argv)
{
    const char *endpoint = argc > 1 ? argv[1] : "tcp://127.0.0.1:7790";
    long count = argc > 2 ? atol(argv[2]) : 0; /* 0: for ever */
    const char *culprit = endpoint;
    int failed = 0;
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_SUB);

    if (argc > 4
        && (zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, argv[3], strlen(argv[3]))
            || set_key(socket, ZMQ_CURVE_PUBLICKEY, argv[4], "public-key")
            || set_key(socket, ZMQ_CURVE_SECRETKEY, argv[4], "secret-key"))) {
        culprit = argv[4];
        failed = 1;
    }
    if (!failed)
        failed = zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "keyword.", 8)
            || zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "sound.", 6) || zmq_connect(socket, endpoint);
    for (long heard = 0; !failed && (count == 0 || heard < count); heard++) {
        /* events have two parts; frame scores would have a third, binary one */
        failed = print_part(socket, " ") != 1 || print_part(socket, "\n") != 0;
        fflush(stdout);
    }
    if (failed)
        fprintf(stderr, "%s: %s\n", culprit, zmq_strerror(zmq_errno()));
    zmq_close(socket);
    zmq_ctx_term(context);
    return failed;
}
