/* Print topic and JSON of what the daemon hears: ./subscribe [ENDPOINT [COUNT]]
 *
 *     cc -Wall -o subscribe subscribe.c -lzmq      (apt install libzmq3-dev)
 */
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

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
    int failed = 0;
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_SUB);

    if (zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "keyword.", 8) || zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "sound.", 6)
        || zmq_connect(socket, endpoint))
        failed = 1;
    for (long heard = 0; !failed && (count == 0 || heard < count); heard++) {
        /* events have two parts; frame scores would have a third, binary one */
        failed = print_part(socket, " ") != 1 || print_part(socket, "\n") != 0;
        fflush(stdout);
    }
    if (failed)
        fprintf(stderr, "%s: %s\n", endpoint, zmq_strerror(zmq_errno()));
    zmq_close(socket);
    zmq_ctx_term(context);
    return failed;
}
