"""Methods of objects whose type the code does not tell: marked where the name leaves no doubt."""

SURE = {
    "network": """
        raise_for_status urlopen urlretrieve chat_postMessage chat_update chat_postEphemeral files_upload
        files_upload_v2 conversations_list send_message sendmail send_email sendall recv recvfrom sendto
        upload_file upload_fileobj download_file download_fileobj put_object get_object delete_object copy_object
        head_object list_objects list_objects_v2 generate_presigned_url list_buckets create_bucket
        upload_from_filename upload_from_string upload_from_file upload_from_path upload_from_folder
        upload_from_dataframe upload_from_file_object download_as_string download_as_bytes download_as_text
        download_to_filename download_to_file download_folder_to_path download_object_to_path
        list_blobs get_blob upload_blob download_blob get_blob_client get_container_client get_bucket
        publish_message receive_message send_messages basic_publish basic_consume queue_declare send_and_wait
        get_secret_value access_secret_version get_secret put_item get_item update_item delete_item batch_write_item
        invoke_model invoke_endpoint start_query_execution start_job_run run_job load_table_from_dataframe
        load_table_from_json load_table_from_uri load_table_from_file insert_rows_json extract_table
        open_sftp exec_command get_paginator to_gbq goto page_source post
    """,
    "database": """
        execute executemany executescript execute_many execute_async fetchall fetchone fetchmany fetchrow fetchval
        fetch_all fetch_one fetch_many execute_batch execute_values copy_expert copy_from copy_to callproc to_sql
        write_database insert_one insert_many update_one update_many replace_one delete_one delete_many find_one
        find_one_and_update find_one_and_delete bulk_write count_documents estimated_document_count
        query_df query_pandas insert_df fetch_pandas_all fetch_arrow_table write_pandas bulk_save_objects
        bulk_insert_mappings bulk_create get_or_create update_or_create hset hget hgetall lpush rpush blpop brpop
        zadd zrange sadd smembers setex setnx incrby read_sql to_iceberg insert_into saveAsTable insertInto
        exec_driver_sql create_table_as write_sql
    """,
    "file write": "to_clipboard",
    "random": "effect_spread encrypt_at_time generate_key generate_private_key",
    "prefect": "create_flow_run_from_deployment create_flow_run set_task_run_state set_flow_run_state",
}

DEFINED_HARMLESSLY = {
    "polars": "execute",
    "duckdb": "execute fetchall fetchone fetchmany query_df",
    "pyarrow": "copy_to",
    "packaging": "post",
    "multiprocessing": "recv",
    "jinja2": "get_bucket",
    "matplotlib": "execute send_message",
    "pandas": "get_item get_object post",
}
"""Those of these names that packages define for what only computes."""

DATA = frozenset("post goto page_source get_item get_object".split())
"""Those of these names that data has as well, where the attribute is not called."""

BY_RECEIVER = {
    "network": (
        """
        get put patch delete head options request send fetch publish upload download list_files listdir putfo getfo
        invoke chat complete create query subscribe stream search scan connect open_session login
        """,
        """
        session client http api conn connection sess requests httpx s3 bucket blob sqs sns ses sftp ftp smtp server
        producer consumer channel socket sock ws websocket webhook slack gcs bq bigquery dynamodb openai llm
        driver browser mailer queue_client topic publisher subscriber
        """,
    ),
    "database": (
        """
        commit rollback query insert update delete find aggregate cursor connect begin save flush add add_all merge
        get set refresh scalar scalars select all upsert load raw create_table drop_table
        """,
        """
        db database conn connection cursor cur engine redis mongo mongodb collection warehouse snowflake postgres
        mysql sqlite con dbsession db_session session_maker duck duckdb_conn
        """,
    ),
    "random": ("encrypt", "fernet cipher crypto secret_box"),
    "file write": ("mode format option parquet csv json orc text jdbc save start toTable", "write writestream"),
}
"""Methods that count on a receiver of one of these names, or of one that ends with it after an underscore."""

CHANGES_ALWAYS = frozenset(
    """
    update pop popitem popleft setdefault extend extendleft appendleft clear insert discard fit partial_fit
    insert_column replace_column drop_in_place
    fit_transform fit_predict fit_resample load_state_dict zero_grad backward step requires_grad_ difference_update
    intersection_update symmetric_difference_update __setitem__ __delitem__ __setattr__ __iadd__ itemset setflags
    byteswap_ train_one_epoch writelines readline readlines truncate add_edge add_node add_edges_from
    add_nodes_from remove_node remove_edge rowconfigure add_column putpixel set_params writerow writerows
    send throw asend __next__ write addHandler removeHandler addFilter removeFilter setLevel setFormatter
    set acquire release notify notify_all put_nowait get_nowait task_done
    """.split()
)
"""Methods that change the object itself, whatever it is."""

CHANGES_IF_UNUSED = frozenset(
    "append add remove sort reverse rotate fill resize put train read next subtract move_to_end seek paste".split()
)
"""Methods that change the object where nothing is done with what they return; others of that name make a copy."""

DRAWS = frozenset(
    """
    normal random integers uniform choice permutation permuted shuffle standard_normal poisson binomial exponential rvs
    sample randint rand randn random_sample lognormal multinomial multivariate_normal laplace geometric
    standard_exponential negative_binomial
    """.split()
)
"""Methods that advance a generator of random numbers: on an object of an unknown type they prove nothing."""

CHANGE_NOT_FRAMES = frozenset({"update", "insert", "pop"})

VIEWS = frozenset(
    """
    get items values keys setdefault pop popitem popleft reshape ravel view transpose swapaxes squeeze T loc iloc at iat
    flat flatten_view real imag data columns index T_ __getitem__ to_numpy_view modules parameters children nodes edges
    """.split()
)
"""Methods and attributes that give a part of the object, which changes with it."""

CHANGES_ARGUMENT = {
    "random.shuffle": 0, "numpy.random.shuffle": 0, "numpy.copyto": 0, "numpy.put": 0, "numpy.place": 0,
    "numpy.putmask": 0, "numpy.fill_diagonal": 0, "numpy.put_along_axis": 0, "numpy.add.at": 0, "numpy.subtract.at": 0,
    "heapq.heappush": 0, "heapq.heappop": 0, "heapq.heapify": 0, "heapq.heapreplace": 0, "heapq.heappushpop": 0,
    "_heapq.heappush": 0, "_heapq.heappop": 0, "_heapq.heapify": 0, "_heapq.heapreplace": 0, "_heapq.heappushpop": 0,
    "bisect.insort": 0, "bisect.insort_left": 0, "bisect.insort_right": 0, "_bisect.insort_right": 0,
    "_bisect.insort_left": 0, "builtins.next": 0, "builtins.anext": 0, "builtins.setattr": 0, "builtins.delattr": 0,
    "operator.setitem": 0, "operator.delitem": 0, "_operator.setitem": 0, "_operator.delitem": 0, "operator.iadd": 0,
    "json.dump": 1, "pickle.dump": 1, "_pickle.dump": 1, "cloudpickle.dump": 1, "yaml.dump": 1, "yaml.safe_dump": 1,
    "marshal.dump": 1, "csv.writer": 0, "_csv.writer": 0, "csv.DictWriter": 0, "toml.dump": 1, "tomli_w.dump": 1,
    "numpy.ndarray.sort": 0, "torch.nn.init": 0, "torch.nn.utils.clip_grad_norm_": 0,
}  # fmt: skip
"""Functions that change their argument at this place."""

WRITES_INTO = {
    "builtins.print": "-1 file", "pprint.pprint": "1 stream", "pprint.pp": "1 stream",
    "pprint.PrettyPrinter": "-1 stream", "traceback.print_exc": "1 file", "traceback.print_exception": "-1 file",
    "traceback.print_stack": "2 file", "traceback.print_tb": "2 file", "traceback.print_last": "1 file",
    "shutil.copyfileobj": "1 fdst", "rich.print": "-1 file", "rich.console.Console": "-1 file",
    "contextlib.redirect_stdout": "0 new_target", "contextlib.redirect_stderr": "0 new_target",
    "logging.StreamHandler": "0 stream", "faulthandler.dump_traceback": "0 file", "dis.dis": "-1 file",
    "tqdm.std.tqdm": "-1 file", "tqdm.tqdm": "-1 file", "warnings.showwarning": "4 file",
}  # fmt: skip
"""Functions and classes that write into a file, if they are given one, with its place and its name."""

LOGS = frozenset("debug info warning warn error exception critical log fatal trace success".split())
"""Methods of loggers."""

SINKS = """
    builtins.print logging warnings.warn time.sleep tqdm expops_prefect.log_metric expops_prefect.log_metrics
    expops_prefect.log_chart expops_prefect.tracking prefect.logging loguru structlog rich traceback asyncio.sleep
    mlflow wandb neptune
"""
"""What a time may be given to: it is shown or measured, and enters no result."""

ALIASES = frozenset(
    """
    numpy.asarray numpy.asanyarray numpy.ravel numpy.reshape numpy.squeeze numpy.transpose numpy.atleast_1d
    numpy.atleast_2d numpy.swapaxes numpy.moveaxis torch.from_numpy torch.as_tensor builtins.vars typing.cast
    builtins.memoryview numpy.broadcast_to numpy.ascontiguousarray
    """.split()
)
"""What may give back its argument, or a view of it."""
