# ./dev build: the release program, left at build/tintype, and the example workers in build/examples/.
# shellcheck shell=bash

dev_build() {
    need_packages build
    build_tree release -DCMAKE_BUILD_TYPE=Release
    # A link, so that the program finds models/ beside the source tree from wherever it is called.
    ln -sf release/tintype build/tintype
    ln -sfn release/examples build/examples
    say "built build/tintype and build/examples/"
}
